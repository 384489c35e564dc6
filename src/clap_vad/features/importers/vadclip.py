"""The layout of VadCLIP and of the usual XD-Violence release: one file per crop, ``NAME__0.npy`` .. ``NAME__9.npy``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ...core.naming import natural_key
from ...errors import ClapError
from ...persistence import ArrayHeader
from ..folders import choose_videos, common_dtype, find_files, refuse_names
from ..importing import IMPORTERS, ForeignFeatures, ForeignVideo
from ..naming import video_name
from ..npyfile import map_npy, read_npy_header

__all__ = ["per_crop"]

_CHUNK_BYTES = 16 << 20


@IMPORTERS.register("vadclip")
def per_crop(source: Path, index: Path | None, names: Path | None) -> ForeignFeatures:
    """A folder of (T, D) files; the number of crops is any, and the same for every video."""
    refuse_names(names)
    videos = choose_videos(_group(find_files(source, ".npy")), index, source)
    crops = max(len(files) for files in videos.values())
    headers: list[ArrayHeader] = []
    dim, first = 0, source
    for name, files in videos.items():
        absent = [crop for crop in range(crops) if crop not in files]
        if absent:
            raise ClapError(
                f"{source}: video '{name}': crop {absent[0]} is missing ({name}__{absent[0]}.npy); other videos have "
                f"{crops} crops, and all must have the same"
            )
        own = {crop: read_npy_header(files[crop]) for crop in range(crops)}
        for crop, header in own.items():
            if len(header.shape) != 2 or 0 in header.shape or header.dtype.kind != "f":
                raise ClapError(f"{files[crop]}: {header.dtype} {header.shape}; floats (segments, dim) are needed")
            if header.shape[0] != own[0].shape[0]:
                raise ClapError(
                    f"{files[crop]}: {header.shape[0]} segments but {own[0].shape[0]} in {files[0]}; "
                    "the crops of a video must be equally long"
                )
            dim, first = (dim, first) if dim else (header.shape[1], files[crop])
            if header.shape[1] != dim:
                raise ClapError(
                    f"{files[crop]}: dimension {header.shape[1]} but {dim} in {first}; import one kind only"
                )
        headers += own.values()
    found = [
        ForeignVideo(name, partial(_blocks, [files[crop] for crop in range(crops)])) for name, files in videos.items()
    ]
    return ForeignFeatures(found, crops, dim, common_dtype(headers))


def _group(files: list[Path]) -> dict[str, dict[int, Path]]:
    videos: dict[str, dict[int, Path]] = {}
    for file in files:
        suffix = re.search(r"__(\d)$", file.stem)
        if suffix is None:
            raise ClapError(f"{file}: its name does not end in '__<crop>.npy'; one file per video is format rtfm")
        crops = videos.setdefault(video_name(file.name), {})
        if (other := crops.setdefault(int(suffix[1]), file)) != file:
            raise ClapError(f"{file}: same video and crop as {other}; keep one of them")
    return {name: videos[name] for name in sorted(videos, key=natural_key)}


def _blocks(files: list[Path]) -> Iterator[np.ndarray]:
    crops = [map_npy(file) for file in files]
    step = max(1, _CHUNK_BYTES // sum(crop[:1].nbytes for crop in crops))
    for start in range(0, len(crops[0]), step):
        yield np.stack([crop[start : start + step] for crop in crops], axis=1)
