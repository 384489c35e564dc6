"""``events.jsonl``: a line of JSON for each event that opens or closes, on disk before anybody is told."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["MOST_WAITING", "EventLines"]

MOST_WAITING = 1000
_BLOCK = 1 << 16


class EventLines:
    """Appends lines to a file; a full disk makes them wait, at most 1000 of them, and stops nothing.

    A line that a kill has torn is cut off when the file is opened again: its event is in the database.

    Args:
        path: the file; made where there is none.
        tell: takes a sentence for the operator.
        most: lines that wait; of more, the oldest are lost and counted.

    Attributes:
        lost: lines lost so far.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, tell: Callable[[str], None], most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._path, self._tell, self._most = path, tell, most
        self._waiting: deque[bytes] = deque()
        self._failing = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = _whole_lines(self._file)
        os.ftruncate(self._file, self._size)

    def append(self, message: dict[str, Any]) -> bool:
        """Write a line and those that wait; whether all are on disk now."""
        self._waiting.append(json.dumps(message, allow_nan=False).encode() + b"\n")
        if len(self._waiting) > self._most:
            self._waiting.popleft()
            self.lost += 1
        return self.flush()

    def flush(self) -> bool:
        """Try again to write what waits; whether all is on disk now."""
        try:
            while self._waiting:
                line = self._waiting[0]
                if os.write(self._file, line) != len(line):
                    raise OSError("only a part of a line was written")
                os.fsync(self._file)
                self._size += len(line)
                self._waiting.popleft()
        except OSError as error:
            os.ftruncate(self._file, self._size)
            if not self._failing:
                self._tell(f"{self._path}: cannot be written ({error}); its lines wait in memory")
            self._failing = True
            return False
        self._failing = False
        return True

    def close(self) -> None:
        """Write what waits, if that is possible, and close the file."""
        if not self.flush():
            self._tell(f"{self._path}: {len(self._waiting)} lines could not be written and are lost")
        os.close(self._file)


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
