"""The layout of Sultani et al. 2018: a text file per video, usually 32 rows of 4096 C3D features."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ....errors import ClapError
from ..axes import choose_order, layout_name
from ..folders import choose_videos, find_files, group_by_video, refuse_names
from ..importer import IMPORTERS, ForeignFeatures, ForeignVideo

__all__ = ["text_rows"]

_BETWEEN = str.maketrans(",;", "  ")
_DECIMAL_COMMAS = re.compile(r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?(?:[;\s]+[-+]?\d+,\d+(?:[eE][-+]?\d+)?)+[;\s]*")
_ROWS = 256  # rows parsed at a time


@IMPORTERS.register("c3d")
def text_rows(source: Path, index: Path | None, names: Path | None, layout: str | None) -> ForeignFeatures:
    """A folder of text files, one segment per row, numbers separated by white space or commas; one crop."""
    refuse_names(names)
    found = find_files(source, ".txt")
    files = choose_videos(group_by_video(found.files), index, source, found.left_out)
    first = next(iter(files.values()))
    lines, width = sum(1 for _ in _lines(first)), len(next(_rows(first))[1])
    order = choose_order({first: (lines, width)}, layout)
    dim = lines if order == "DT" else width
    videos = [ForeignVideo(name, partial(_blocks, file, dim, first, order)) for name, file in files.items()]
    return ForeignFeatures(videos, 1, dim, "float32", layout=layout_name(order), left_out=found.left_out)


def _blocks(file: Path, dim: int, first: Path, order: str) -> Iterator[np.ndarray]:
    rows = _rows(file)
    if order == "DT":
        yield _turned(file, list(rows), dim, first)
        return
    while block := list(islice(rows, _ROWS)):
        for number, row in block:
            if len(row) != dim:
                raise ClapError(f"{file}: line {number}: {len(row)} numbers but {dim} in {first}; import one kind only")
        yield np.stack([row for _, row in block])[:, None, :]


def _turned(file: Path, rows: list[tuple[int, np.ndarray]], dim: int, first: Path) -> np.ndarray:
    """Features (T, 1, D) of a file with one line per dimension."""
    if len(rows) != dim:
        raise ClapError(f"{file}: {len(rows)} lines but {dim} in {first}; import one kind only")
    segments = len(rows[0][1])
    for number, row in rows:
        if len(row) != segments:
            raise ClapError(f"{file}: line {number}: {len(row)} numbers but {segments} before; correct it")
    return np.stack([row for _, row in rows]).T[:, None, :]


def _rows(file: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Yield line number and float32 values of each row that is not blank; refuses a file without rows."""
    empty = True
    for number, line in _lines(file):
        empty = False
        yield number, _parse(file, number, line)
    if empty:
        raise ClapError(f"{file}: the file is empty; copy it again or remove it")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8-sig") as handle:
            yield from ((number, line) for number, line in enumerate(handle, 1) if line.strip())
    except UnicodeDecodeError:
        raise ClapError(f"{file}: not a text file of numbers; remove it") from None


def _parse(file: Path, number: int, line: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # raised by numpy.fromstring for text that is not a number
        try:
            return np.fromstring(_points(line).translate(_BETWEEN), dtype=np.float32, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ClapError(f"{file}: line {number}: not a row of numbers ({line.strip()[:40]!r}); fix it") from None


def _points(line: str) -> str:
    """Replace decimal commas by points if every number has a decimal comma.

    >>> _points("0,5;1,25"), _points("0.5,1.25")
    ('0.5;1.25', '0.5,1.25')
    """
    return line.replace(",", ".") if _DECIMAL_COMMAS.fullmatch(line) else line
