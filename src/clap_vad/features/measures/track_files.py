"""Track files: boxes of tracked persons in a video, in ShanghaiTech text or MOTChallenge CSV.

ShanghaiTech: ``Frame_Number Person_ID State x1 y1 x2 y2 ...``, separated by white space, frames from 0. Only the first
seven columns are read: in some files the next ones are labels, which must not influence features.
MOTChallenge: ``frame,id,x,y,w,h,...``, separated by commas, frames from 1; the first six columns are read. Semicolons
(with decimal points or commas) are accepted too, as spreadsheets write them.
"""

from __future__ import annotations

import configparser
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ClapError
from ...tables.delimited import parse_number
from ...tables.text import read_text, split_lines

__all__ = ["Tracks", "read_tracks", "sequence_info"]

_LINES = 100_000  # lines parsed at a time, as text needs much more memory than its numbers
_LAST_FRAME = 100_000_000  # six weeks at 25 frames per second; larger numbers are errors
_SHANGHAITECH = (0, 1, 3, 4, 5, 6)
_MOT = (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Tracks:
    """All boxes of a video, sorted by frame and person.

    Attributes:
        frame: (n,) int32, from 0.
        person: (n,) int32 track ids.
        box: (n, 4) float32 left, top, right, bottom in pixels.
        fps: frames per second.
        size: width and height of the picture in pixels.
        length: declared number of frames, which may exceed the last box; None if not declared.
    """

    frame: np.ndarray
    person: np.ndarray
    box: np.ndarray
    fps: float
    size: tuple[int, int]
    length: int | None = None

    @property
    def frames(self) -> int:
        """Number of frames: as declared, else last tracked frame + 1."""
        return self.length or int(self.frame[-1]) + 1


def read_tracks(path: Path) -> Tracks:
    """Read a track file in either format; rows may have any order.

    Frame rate and picture size are 24 and 856 x 480 for ShanghaiTech. For MOTChallenge they come from ``seqinfo.ini``
    in the same or the parent folder (default 25 and 1920 x 1080); its ``seqLength`` is the number of frames.

    Raises:
        ClapError: a broken ``seqinfo.ini``, or one whose sequence ends before the last box; no rows, or a broken row
            (the line is named): too few columns, not a number, not finite, frame or id not an integer, negative, or a
            box with its right or bottom edge before the left or top one.
    """
    mot = semicolons = False
    blocks: list[tuple[np.ndarray, np.ndarray]] = []
    try:
        with path.open(encoding="utf-8-sig") as handle:
            number = 0
            while lines := list(itertools.islice(handle, _LINES)):
                if number == 0:
                    head = next((line for line in lines if line.strip()), "")
                    mot, semicolons = "," in head or ";" in head, ";" in head
                if semicolons:
                    lines = [line.replace(",", ".").replace(";", ",") for line in lines]
                table = _parse(path, lines, number, mot)
                if len(table):
                    blocks.append((table[:, :2].astype(np.int32), table[:, 2:].astype(np.float32)))
                number += len(lines)
    except UnicodeDecodeError:
        raise ClapError(
            f"{path}: not a text file; a track file in ShanghaiTech or MOTChallenge format is needed"
        ) from None
    except OSError as error:
        raise ClapError(f"{path}: cannot be read ({error.strerror})") from None
    if not blocks:
        raise ClapError(f"{path}: contains no tracked box; leave it out or give its track file")
    keys, box = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    fps, size, length = sequence_info(path) if mot else (24.0, (856, 480), None)
    last = int(keys[order[-1], 0])
    if length is not None and last > length:
        raise ClapError(
            f"{path}: the last box is in frame {last} but seqinfo.ini has seqLength {length}; correct seqLength or "
            "remove the boxes after it"
        )
    return Tracks(keys[order, 0] - mot, keys[order, 1], box[order], fps, size, length)


def _parse(path: Path, lines: Sequence[str], number: int, mot: bool) -> np.ndarray:
    """Rows (n, 6) of frame, person, left, top, right, bottom; ``number`` lines come before ``lines``."""
    columns, comma = (_MOT, ",") if mot else (_SHANGHAITECH, None)
    numbers = [k for k, line in enumerate(lines, start=number + 1) if line.strip()]
    rows = [line for line in lines if line.strip()]
    if number == 0 and rows and _is_header(rows[0], comma):
        numbers, rows = numbers[1:], rows[1:]
    if not rows:
        return np.empty((0, 6))
    try:
        table = np.loadtxt(rows, delimiter=comma, usecols=columns, ndmin=2, comments=None)
    except ValueError:
        raise _broken_line(path, rows, numbers, columns, comma) from None
    if mot:
        table[:, 4:] += table[:, 2:4]
    with np.errstate(invalid="ignore"):
        frame, person, left, top, right, bottom = table.T
        faults = {
            "a value is not finite": ~np.isfinite(table).all(1),
            "frame or id is not a whole number": (frame % 1 != 0) | (person % 1 != 0),
            f"frame {'below 1' if mot else 'negative'} or beyond {_LAST_FRAME:,}": (frame < mot)
            | (frame > _LAST_FRAME),
            "id is negative or too large (detections without tracks?)": (person < 0) | (person >= 2**31),
            "the box ends before it starts": (right < left) | (bottom < top),
        }
    for fault, where in faults.items():
        if where.any():
            row = int(np.argmax(where))
            raise ClapError(
                f"{path}: line {numbers[row]}: {fault} ({rows[row].strip()[:60]!r}); correct or remove the line"
            )
    return table


def _is_header(line: str, comma: str | None) -> bool:
    """Whether the first line is a header: its first word is not a number."""
    words = line.split(comma)
    return bool(words) and not _is_number(words[0])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _broken_line(
    path: Path, rows: Sequence[str], numbers: Sequence[int], columns: Sequence[int], comma: str | None
) -> ClapError:
    for number, row in zip(numbers, rows, strict=True):
        words = row.strip().split(comma)
        shown = f"({row.strip()[:60]!r})"
        if len(words) <= max(columns):
            needed = max(columns) + 1
            return ClapError(f"{path}: line {number}: {len(words)} columns {shown}; at least {needed} are needed")
        for column in columns:
            if not _is_number(words[column]):
                return ClapError(f"{path}: line {number}: column {column + 1} is not a number {shown}; correct it")
    return ClapError(f"{path}: cannot be parsed; a track file in ShanghaiTech or MOTChallenge format is needed")


def sequence_info(path: Path) -> tuple[float, tuple[int, int], int | None]:
    """Frame rate, picture size and number of frames (None if not declared) from MOTChallenge's ``seqinfo.ini``.

    Upper and lower case of section and entry names do not matter.
    """
    for file in (path.parent / "seqinfo.ini", path.parent.parent / "seqinfo.ini"):
        if file.is_file():
            stated = _read_sequence(file)
            fps, width, height, length = (
                _stated_number(file, stated, key, default)
                for key, default in (("frameRate", 25.0), ("imWidth", 1920), ("imHeight", 1080), ("seqLength", None))
            )
            if not (fps and width and height and 0 < fps < 1000 and width > 0 and height > 0):
                raise ClapError(f"{file}: {fps} frames per second at {width} x {height} are impossible; correct it")
            whole = {"imWidth": width, "imHeight": height, "seqLength": length}
            for key, value in whole.items():
                if value is not None and (value % 1 or not 1 <= value <= _LAST_FRAME):
                    raise ClapError(f"{file}: {key} is {value:g}; give an integer of at least 1 or remove it")
            return fps, (int(width), int(height)), None if length is None else int(length)
    return 25.0, (1920, 1080), None


def _read_sequence(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string("\n".join(split_lines(read_text(file))), str(file))
        section = next(name for name in parser.sections() if name.strip().lower() == "sequence")
        return dict(parser[section])
    except configparser.Error as error:
        reason = " ".join(str(error).split())
        raise ClapError(f"{file}: not a readable seqinfo.ini ({reason}); correct or remove it") from None
    except StopIteration:
        raise ClapError(f"{file}: not a readable seqinfo.ini (no section [Sequence]); correct or remove it") from None


def _stated_number(file: Path, stated: dict[str, str], key: str, default: float | None) -> float | None:
    text = (stated.get(key.lower()) or "").strip().strip("\"'")
    try:
        value = parse_number(text) if text else default
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise ClapError(f"{file}: {key} is {text[:40]!r}, not a number; correct or remove it")
    return value
