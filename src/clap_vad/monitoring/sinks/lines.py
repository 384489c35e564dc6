"""JSON lines: ``events.jsonl``, a line for each event that opens or closes, on disk before later sinks are notified."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import LINES
from ..message import event_message
from ..outbox import Outbox, UndeliveredError
from ..sink import SINKS, EventNotice, Sink, SinkContext, SinkSettings

__all__ = ["MOST_WAITING", "JsonLines", "LinesSettings", "LinesSink"]

MOST_WAITING = 1000
_BLOCK = 1 << 16


class JsonLines:
    """Appends lines to a file that several sessions may share; on a full disk the lines wait and the session goes on.

    A line torn by a kill is removed when the file is opened again: its event is in the database.

    Args:
        path: the file; created if missing.
        report: called with a message for the operator.
        most: largest number of waiting lines; beyond it the oldest are dropped and counted.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, report: Callable[[str], None], most: int = MOST_WAITING) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._outbox: Outbox[bytes] = Outbox(str(path), self._write, report, noun="lines", most=most)
        with self._alone():
            os.ftruncate(self._file, _whole_lines(self._file))

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._outbox.dropped

    def append(self, message: dict[str, Any]) -> bool:
        """Write a line and the waiting ones; whether all are on disk now."""
        self._outbox.put(json.dumps(message, allow_nan=False).encode() + b"\n")
        return self.flush()

    def flush(self, at_once: bool = False) -> bool:
        """Try again to write the waiting lines, if the next try is due; whether all are on disk now."""
        return self._outbox.flush(at_once)

    def close(self) -> None:
        """Write the waiting lines, if possible, and close the file."""
        self._outbox.close()
        os.close(self._file)

    def _write(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        try:
            with self._alone():
                size = os.fstat(self._file).st_size
                try:
                    if os.write(self._file, data) != len(data):
                        raise OSError("only a part of a line was written")
                    os.fsync(self._file)
                except OSError:
                    os.ftruncate(self._file, size)
                    raise
        except OSError as error:
            raise UndeliveredError(f"cannot be written ({error})") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the file against other sessions, which could write to it or truncate it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)


class LinesSink(Sink):
    """Appends to ``events.jsonl``."""

    def __init__(self, context: SinkContext) -> None:
        self._path, self._info = context.folder / LINES, context.info
        self._lines = JsonLines(self._path, context.report)

    def event(self, notice: EventNotice) -> None:
        if notice.kind != "peak":
            self._lines.append(event_message(notice, self._info))

    def alive(self, now: float) -> None:
        self._lines.flush()

    def close(self, ended: str) -> None:
        self._lines.close()

    def summary(self) -> dict[str, Any]:
        return {"lines": str(self._path)}


@SINKS.register("lines")
@dataclass(frozen=True)
class LinesSettings(SinkSettings):
    """See ``docs/watch.md``."""

    order = 2

    def open(self, context: SinkContext) -> LinesSink:
        return LinesSink(context)


def _whole_lines(file: int) -> int:
    """Bytes up to the last line end."""
    at = os.fstat(file).st_size
    while at > 0:
        start = max(0, at - _BLOCK)
        end = os.pread(file, at - start, start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        at = start
    return 0
