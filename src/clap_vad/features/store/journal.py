"""Lines of ``index.csv``, the writer's journal while it writes: one line commits one video."""

from __future__ import annotations

import csv
import io
from typing import Any

from .reader import INDEX_HEADER, VideoIndex

__all__ = ["JOURNAL_HEADER", "journal_line", "parse_journal"]


def journal_line(entry: VideoIndex) -> bytes:
    """The line of a video, including the line end.

    >>> journal_line(VideoIndex("a, b", 0, 3, 48, None))
    b'"a, b",0,3,48,\\n'
    """
    fps = "" if entry.fps is None else repr(entry.fps)
    return _encode([entry.video, entry.start, entry.stop, entry.frames, fps])


def parse_journal(content: bytes, rows_on_disk: int) -> tuple[list[VideoIndex], int]:
    """The committed videos of a journal that may be incomplete, and its length in bytes up to the last of them.

    Reading stops at the first line that is incomplete, or whose rows are not consecutive or not on disk; later lines
    were not committed. Without a complete header the result is ``([], 0)``.

    >>> parse_journal(JOURNAL_HEADER + b"a,0,3,48,\\nb,3,5,3", 9)
    ([VideoIndex(video='a', start=0, stop=3, frames=48, fps=None)], 38)
    """
    entries: list[VideoIndex] = []
    size = rows = 0
    for raw in content.splitlines(keepends=True):
        if size == 0 and raw != JOURNAL_HEADER:
            break
        if size:
            entry = _parse(raw)
            if entry is None or entry.start != rows or not rows < entry.stop <= rows_on_disk:
                break
            entries.append(entry)
            rows = entry.stop
        size += len(raw)
    return entries, size


def _encode(fields: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


def _parse(raw: bytes) -> VideoIndex | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        video, start, stop, frames, fps = next(csv.reader([raw.decode()], strict=True))
        return VideoIndex(video, int(start), int(stop), int(frames), float(fps) if fps else None)
    except (ValueError, csv.Error):
        return None


JOURNAL_HEADER = _encode(INDEX_HEADER)
