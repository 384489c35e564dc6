"""Whether a file is as long as it says: recorders that lose power leave films that break off."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

__all__ = ["breaks_off"]


def breaks_off(path: Path, form: str) -> bool | None:
    """Whether the outermost parts of a file reach beyond its end; None for formats whose parts do not say.

    What a file announces in frames is no such sign: an edit list hides frames, AVI leaves out those that repeat the
    one before.

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
    """Where the last box of an ISO base media file ends (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= size:
        handle.seek(at)
        length, kind = struct.unpack(">I4s", handle.read(8))
        header = 8
        if length == 1:
            (length,) = struct.unpack(">Q", handle.read(8).ljust(8, b"\0"))
            header = 16
        if length < header or not kind.isascii():  # 0: to the end of the file; else no box, such as padding
            return size
        at += length
    return at


def _riffs_end(handle: BinaryIO, size: int) -> int:
    """Where the last RIFF part of an AVI file ends; long ones have several (OpenDML)."""
    at = 0
    while at + 12 <= size:
        handle.seek(at)
        mark, length = struct.unpack("<4sI", handle.read(8))
        if mark != b"RIFF" or not length:  # 0: a recorder that never came to write it
            return at
        at += 8 + length + length % 2
    return at
