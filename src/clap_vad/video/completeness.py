"""Detection of truncated files, such as those left by a recorder that lost power."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["breaks_off", "missing_part"]


def missing_part(path: Path, stream: Any, there: int, seconds: float | None) -> str | None:
    """A sentence about the declared part of a video stream that is missing in the file; None if it is complete.

    Args:
        path: the file.
        stream: a PyAV stream, read to its end.
        there: number of packets read.
        seconds: end of the last frame; None if it cannot be compared with the declared duration.
    """
    container, announced = stream.container, stream.frames
    cut = breaks_off(path, container.format.name)
    expected = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
    short = expected - seconds if seconds is not None else 0.0
    if there < announced and cut is not None:
        # an edit list hides frames and AVI omits repeated frames; the index counts all of them
        listed = sum(entry.size > 0 for entry in stream.index_entries)
        announced = announced if cut else min(announced, listed)
    if there < announced and (cut is not None or short > expected / announced):
        return f"only {there} of {announced} declared frames are there"
    if cut:
        return "the file is truncated"
    if not announced and cut is None and short > max(2.0, 0.05 * expected):
        return f"it ends at {seconds:.1f} of {expected:.1f} declared seconds"
    return None


def breaks_off(path: Path, form: str) -> bool | None:
    """Whether the outermost parts of a file extend beyond its end; None for formats without part lengths.

    The declared number of frames proves nothing: an edit list hides frames, AVI omits repeated frames.

    Args:
        path: a file.
        form: FFmpeg's name of its format.
    """
    names = form.split(",")
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if "mov" in names:
            return _boxes_end(handle, size) > size
        if "avi" in names:
            return _riffs_end(handle, size) > size
    return None


def _boxes_end(handle: BinaryIO, size: int) -> int:
    """End of the last box of an ISO base media file, in bytes (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        handle.seek(at)
        length, kind = struct.unpack(">I4s", handle.read(8))
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", handle.read(8).ljust(8, b"\0"))
            header = 16
        if length < header or not kind.isascii():  # 0: to the end of the file; otherwise not a box, e.g. padding
            return size
        at += length
    return at


def _riffs_end(handle: BinaryIO, size: int) -> int:
    """End of the last RIFF part of an AVI file, in bytes. Long files have several parts (OpenDML)."""
    at = 0
    while at + 12 <= size:
        handle.seek(at)
        mark, length = struct.unpack("<4sI", handle.read(8))
        if mark != b"RIFF" or not length:  # 0: the recorder stopped before it wrote the length
            return at
        at += 8 + length + length % 2
    return at
