"""The database: writes events, outages and the timeline to the event store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..files import DATABASE
from ..sink import SINKS, EventNotice, Outage, Sink, SinkContext, SinkSettings
from ..store.event_store import EventStore
from ..timeline import TimelineRow

__all__ = ["DatabaseSettings", "DatabaseSink"]


class DatabaseSink(Sink):
    """Writes to ``watch.db``, and sets the session's number for later sinks."""

    def __init__(self, context: SinkContext) -> None:
        self._path = context.folder / DATABASE
        self._store = EventStore(self._path, context.info, time.time(), context.report)

    def event(self, notice: EventNotice) -> None:
        self._store.event(notice.event, "closed" if notice.kind == "closed" else "open")
        if notice.kind == "opened" and notice.clip is not None:
            self._store.clip(notice.event.number, notice.clip)
        notice.session = self._store.session

    def outage(self, outage: Outage) -> None:
        self._store.outage(outage)

    def timeline(self, row: TimelineRow) -> None:
        self._store.timeline(row)

    def alive(self, now: float) -> None:
        self._store.alive(now)

    def close(self, ended: str) -> None:
        self._store.close(time.time(), ended)

    def summary(self) -> dict[str, Any]:
        return {"database": str(self._path)}


@SINKS.register("database")
@dataclass(frozen=True)
class DatabaseSettings(SinkSettings):
    """See ``docs/watch.md``."""

    order = 1

    def open(self, context: SinkContext) -> DatabaseSink:
        return DatabaseSink(context)
