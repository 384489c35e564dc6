"""The layout of RTFM and many later releases: one ``NAME_i3d.npy`` per video."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ....errors import ClapError
from ...store.npyfile import map_npy, read_npy_header
from ..axes import arrange, choose_order, layout_name, squeezed
from ..folders import choose_videos, common_dtype, find_files, group_by_video, refuse_names
from ..importer import IMPORTERS, ForeignFeatures, ForeignVideo

__all__ = ["per_video"]


@IMPORTERS.register("rtfm")
def per_video(source: Path, index: Path | None, names: Path | None, layout: str | None) -> ForeignFeatures:
    """A folder of ``.npy`` files, each (T, C, D), or (T, D) for one crop; all headers are checked first."""
    refuse_names(names)
    found = find_files(source, ".npy")
    files = choose_videos(group_by_video(found.files), index, source, found.left_out)
    headers = {file: read_npy_header(file) for file in files.values()}
    for file, header in headers.items():
        if len(squeezed(header.shape)) not in (2, 3) or 0 in header.shape or header.dtype.kind != "f":
            raise ClapError(f"{file}: {header.dtype} {header.shape}; give floats (segments, crops, dim)")
    order = choose_order({file: squeezed(header.shape) for file, header in headers.items()}, layout)
    crops, dim = arrange(map_npy(next(iter(headers))), order).shape[1:]
    videos = [ForeignVideo(name, partial(_blocks, file, order)) for name, file in files.items()]
    dtype = common_dtype(headers.values())
    return ForeignFeatures(videos, crops, dim, dtype, layout=layout_name(order), left_out=found.left_out)


def _blocks(file: Path, order: str) -> Iterator[np.ndarray]:
    yield arrange(map_npy(file), order)
