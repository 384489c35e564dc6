"""The layout of VadCLIP and the common XD-Violence release: one file per crop, ``NAME__0.npy`` .. ``NAME__9.npy``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ....core.text.naming import natural_key
from ....errors import ClapError
from ....persistence import ArrayHeader
from ...naming import video_name
from ...store.npyfile import map_npy, read_npy_header
from ..axes import check_layout, choose_order, layout_name
from ..folders import choose_videos, common_dtype, find_files, refuse_names
from ..importer import IMPORTERS, ForeignFeatures, ForeignVideo

__all__ = ["per_crop"]

_CHUNK_BYTES = 16 << 20


@IMPORTERS.register("vadclip")
def per_crop(source: Path, index: Path | None, names: Path | None, layout: str | None) -> ForeignFeatures:
    """A folder of (T, D) files; every video has the same number of crops."""
    refuse_names(names)
    search = find_files(source, ".npy")
    videos = choose_videos(_group(search.files), index, source, search.left_out)
    crops = max(len(files) for files in videos.values())
    order = _order(videos, layout)
    headers: list[ArrayHeader] = []
    dim, first = 0, source
    for name, files in videos.items():
        absent = [crop for crop in range(crops) if crop not in files]
        if absent:
            raise ClapError(
                f"{source}: video '{name}': crop {absent[0]} is missing ({name}__{absent[0]}.npy); add it, as other "
                f"videos have {crops} crops and all must have the same number"
            )
        own = {crop: _header(files[crop]) for crop in range(crops)}
        for crop, header in own.items():
            segments, width = (header.shape[order.index(axis)] for axis in "TD")
            if segments != (others := own[0].shape[order.index("T")]):
                raise ClapError(
                    f"{files[crop]}: {segments} segments but {others} in {files[0]}; "
                    "all crops of a video need the same number of segments, copy the files again"
                )
            dim, first = (dim, first) if dim else (width, files[crop])
            if width != dim:
                raise ClapError(f"{files[crop]}: dimension {width} but {dim} in {first}; import files of one kind")
        headers += own.values()
    found = [
        ForeignVideo(name, partial(_blocks, [files[crop] for crop in range(crops)], order))
        for name, files in videos.items()
    ]
    dtype = common_dtype(headers)
    return ForeignFeatures(found, crops, dim, dtype, layout=layout_name(order), left_out=search.left_out)


def _order(videos: Mapping[str, Mapping[int, Path]], layout: str | None) -> str:
    """Order of the axes; TD if the crops of a video differ, which is reported later for the file."""
    stated = check_layout(layout)
    if stated and len(stated) != 2:
        raise ClapError(f"--layout {layout}: format vadclip has one crop per file; choose segments-dim or dim-segments")
    shapes: dict[Path, tuple[int, ...]] = {}
    for files in videos.values():
        own = {file: _header(file).shape for file in files.values()}
        if len(set(own.values())) > 1:
            return stated or "TD"
        shapes |= dict(list(own.items())[:1])
    ambiguous = len({shape[0] for shape in shapes.values()}) > 1 and len({shape[1] for shape in shapes.values()}) > 1
    return stated or ("TD" if ambiguous else choose_order(shapes))


def _header(file: Path) -> ArrayHeader:
    header = read_npy_header(file)
    if len(header.shape) != 2 or 0 in header.shape or header.dtype.kind != "f":
        raise ClapError(f"{file}: {header.dtype} {header.shape}; give floats (segments, dim)")
    return header


def _group(files: list[Path]) -> dict[str, dict[int, Path]]:
    videos: dict[str, dict[int, Path]] = {}
    for file in files:
        suffix = re.search(r"__(\d)$", file.stem)
        if suffix is None:
            raise ClapError(f"{file}: its name does not end with '__<crop>.npy'; one file per video is format rtfm")
        crops = videos.setdefault(video_name(file.name), {})
        if (other := crops.setdefault(int(suffix[1]), file)) != file:
            raise ClapError(f"{file}: same video and crop as {other}; keep one of them")
    return {name: videos[name] for name in sorted(videos, key=natural_key)}


def _blocks(files: list[Path], order: str) -> Iterator[np.ndarray]:
    crops = [map_npy(file).transpose([order.index(axis) for axis in "TD"]) for file in files]
    step = max(1, _CHUNK_BYTES // sum(crop[:1].nbytes for crop in crops))
    for start in range(0, len(crops[0]), step):
        yield np.stack([crop[start : start + step] for crop in crops], axis=1)
