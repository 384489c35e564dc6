"""The layout of the CLAP and C2FPL releases: one large ``.npy`` of all videos and an index of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ....errors import ClapError
from ...store.npyfile import map_npy, read_npy_header
from ..axes import arrange, choose_order, layout_name, squeezed
from ..importer import IMPORTERS, ForeignFeatures, ForeignVideo
from ..lists import check_tiling, read_list, read_nalist, unique_names

__all__ = ["concatenated"]

_CHUNK_BYTES = 16 << 20


@IMPORTERS.register("clap")
def concatenated(source: Path, index: Path | None, names: Path | None, layout: str | None) -> ForeignFeatures:
    """``concat_*.npy`` (N, C, D), or (N, D) for one crop; ``index`` is a list file or ``nalist.npy``."""
    if source.is_dir():
        raise ClapError(f"{source}: a folder; give the .npy file with all videos (one file per video is format rtfm)")
    header = read_npy_header(source)
    shape = squeezed(header.shape)
    if len(shape) not in (2, 3) or 0 in header.shape or header.dtype.kind != "f":
        raise ClapError(f"{source}: {header.dtype} {header.shape}; give floats (segments, crops, dim)")
    if index is None:
        raise ClapError(f"{source}: the rows of each video are unknown; give the list or nalist as --index")
    bare = index.suffix.lower() == ".npy"
    if bare and names is None:
        raise ClapError(f"{index}: a nalist has no names; give the list of names in the same order as --names")
    if names is not None and not bare:
        raise ClapError(f"{names}: {index.name} already has names; leave --names out")
    named = unique_names(names or index, read_list(names or index))
    entries = read_nalist(index, named) if bare else named
    rows = max((entry.rows[1] for entry in entries if entry.rows), default=0)
    order = choose_order({source: shape}, layout, rows)
    segments, crops, dim = arrange(map_npy(source), order).shape
    check_tiling(index, entries, source, segments)
    plain = len(header.shape) == 3 and order == "TCD"
    fits = plain and not header.fortran_order and header.dtype in (np.float16, np.float32)
    videos = [
        ForeignVideo(entry.video, partial(_blocks, source, entry.rows, order), entry.rows)
        for entry in entries
        if entry.rows is not None
    ]
    dtype = "float16" if header.dtype.itemsize == 2 else "float32"
    return ForeignFeatures(videos, crops, dim, dtype, source if fits else None, layout_name(order))


def _blocks(source: Path, rows: tuple[int, int], order: str) -> Iterator[np.ndarray]:
    features = arrange(map_npy(source), order)
    step = max(1, _CHUNK_BYTES // features[:1].nbytes)
    for start in range(rows[0], rows[1], step):
        yield features[start : min(start + step, rows[1])]
