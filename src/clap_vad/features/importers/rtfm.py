"""The layout of RTFM and its many followers: one ``NAME_i3d.npy`` per video."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import ClapError
from ..folders import choose_videos, common_dtype, find_files, group_by_video, refuse_names
from ..importing import IMPORTERS, ForeignFeatures, ForeignVideo
from ..npyfile import map_npy, read_npy_header

__all__ = ["per_video"]


@IMPORTERS.register("rtfm")
def per_video(source: Path, index: Path | None, names: Path | None) -> ForeignFeatures:
    """A folder of ``.npy`` files, each (T, C, D), or (T, D) taken as one crop; all headers are checked first."""
    refuse_names(names)
    files = choose_videos(group_by_video(find_files(source, ".npy")), index, source)
    headers = {file: read_npy_header(file) for file in files.values()}
    first: tuple[Path, tuple[int, ...]] | None = None
    for file, header in headers.items():
        if len(header.shape) not in (2, 3) or 0 in header.shape or header.dtype.kind != "f":
            raise ClapError(f"{file}: {header.dtype} {header.shape}; floats (segments, crops, dim) are needed")
        shape = header.shape[1:] if len(header.shape) == 3 else (1, *header.shape[1:])
        first = first or (file, shape)
        if shape != first[1]:
            raise ClapError(
                f"{file}: crops and dimension are {shape} but {first[1]} in {first[0]}; "
                "import features of one kind only, segments first"
            )
    assert first is not None  # find_files and read_list never return nothing
    crops, dim = first[1]
    videos = [ForeignVideo(name, partial(_blocks, file, crops, dim)) for name, file in files.items()]
    return ForeignFeatures(videos, crops, dim, common_dtype(headers.values()))


def _blocks(file: Path, crops: int, dim: int) -> Iterator[np.ndarray]:
    yield map_npy(file).reshape(-1, crops, dim)
