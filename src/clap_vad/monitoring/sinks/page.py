"""The page: ``report.html`` of all cameras in the folder, updated at most once a minute."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from ...errors import ClapError
from ..files import DATABASE, PAGE
from ..outbox import Outbox, UndeliveredError
from ..report import ClipPictures, write_monitoring_report
from ..sink import SINKS, EventNotice, Sink, SinkContext, SinkSettings

__all__ = ["PageSettings", "ReportWriter"]

_EVERY = 60.0
_PATIENCE = 60.0  # seconds for the last page


class ReportWriter(Sink):
    """Writes the page in a separate thread; nothing waits for it."""

    def __init__(self, context: SinkContext) -> None:
        self._database, self._page = context.folder / DATABASE, context.folder / PAGE
        self._pictures = ClipPictures(context.folder)
        self._outbox: Outbox[object] = Outbox(
            str(self._page), self._write, context.report, noun="pages", most=1, every=_EVERY, thread=True
        )

    def event(self, notice: EventNotice) -> None:
        if notice.kind == "closed":
            self._wanted()

    def alive(self, now: float) -> None:
        self._wanted()

    def close(self, ended: str) -> None:
        self._wanted()
        self._outbox.close(_PATIENCE)

    def summary(self) -> dict[str, Any]:
        return {"report": str(self._page)}

    def _wanted(self) -> None:
        self._outbox.put(object(), "page")  # replaces a waiting one

    def _write(self, pages: list[object]) -> None:
        try:
            write_monitoring_report(self._database, self._page, self._pictures)
        except (ClapError, OSError, sqlite3.Error) as error:
            raise UndeliveredError(f"cannot be written ({error})") from None


@SINKS.register("page")
@dataclass(frozen=True)
class PageSettings(SinkSettings):
    """See ``docs/watch.md``."""

    def open(self, context: SinkContext) -> ReportWriter:
        return ReportWriter(context)
