"""The layout of Sultani et al. 2018: a text file per video, usually 32 rows of 4096 C3D numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ...errors import ClapError
from ..folders import choose_videos, find_files, group_by_video, refuse_names
from ..importing import IMPORTERS, ForeignFeatures, ForeignVideo

__all__ = ["text_rows"]

_ROWS = 256  # parsed at once


@IMPORTERS.register("c3d")
def text_rows(source: Path, index: Path | None, names: Path | None) -> ForeignFeatures:
    """A folder of text files, a segment per row, numbers separated by white space or commas; one crop."""
    refuse_names(names)
    files = choose_videos(group_by_video(find_files(source, ".txt")), index, source)
    first = next(iter(files.values()))
    dim = len(next(_rows(first))[1])
    videos = [ForeignVideo(name, partial(_blocks, file, dim, first)) for name, file in files.items()]
    return ForeignFeatures(videos, 1, dim, "float32")


def _blocks(file: Path, dim: int, first: Path) -> Iterator[np.ndarray]:
    rows = _rows(file)
    while block := list(islice(rows, _ROWS)):
        for number, row in block:
            if len(row) != dim:
                raise ClapError(f"{file}: line {number}: {len(row)} numbers but {dim} in {first}; import one kind only")
        yield np.stack([row for _, row in block])[:, None, :]


def _rows(file: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Line number and float32 values of each row that is not blank; at least one."""
    empty = True
    try:
        with file.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    empty = False
                    yield number, _parse(file, number, line)
    except UnicodeDecodeError:
        raise ClapError(f"{file}: not a text file of numbers") from None
    if empty:
        raise ClapError(f"{file}: empty; fetch it again or take it away")


def _parse(file: Path, number: int, line: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how numpy.fromstring reports text that is no number
        try:
            return np.fromstring(line.replace(",", " "), dtype=np.float32, sep=" ")
        except (DeprecationWarning, ValueError):
            raise ClapError(f"{file}: line {number}: not a row of numbers ({line.strip()[:40]!r})") from None
