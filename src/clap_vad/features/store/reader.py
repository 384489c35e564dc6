"""The feature store: segment features of many videos in one memory-mapped file.

A folder with ``features.npy`` (N, C, D) float16 or float32, ``index.csv`` (``video,start,stop,frames,fps``: a
video owns rows [start, stop)), optional ``valid.npy`` (N, C) bool where regions may be absent, optional ``regions.npy``
(N, C, 4) float16 where they move (left, top, right, bottom, 0..1 of the picture), and ``store.json``, which the writer
puts there last: a folder without it is not a store but an unfinished one, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ClapError, unprintable
from ...persistence import read_json
from ...tables.delimited import Row, parse_number, read_table
from .npyfile import map_npy

__all__ = [
    "INDEX_HEADER",
    "MOST_FRAMES",
    "NORMALISE",
    "REGIONS",
    "SCHEMA_VERSION",
    "FeatureStore",
    "VideoIndex",
    "place_of_row",
]

SCHEMA_VERSION = 1
NORMALISE = ("none", "federated")
INDEX_HEADER = ["video", "start", "stop", "frames", "fps"]
REGIONS = np.dtype("<f2")
"""Of ``regions.npy``: a thousandth of the picture is more than an outline shows."""
MOST_FRAMES = 100_000_000
"""Frames of one video: six weeks at 25 a second. A file that announces more is damaged, or made to fill the memory."""


@dataclass(frozen=True)
class VideoIndex:
    """Where one video lies in the store.

    Attributes:
        video: unique name.
        start, stop: its rows [start, stop).
        frames: number of frames of the video.
        fps: frames per second, or None where unknown (imported features).
    """

    video: str
    start: int
    stop: int
    frames: int
    fps: float | None

    @property
    def segments(self) -> int:
        """T, the number of segments."""
        return self.stop - self.start


def place_of_row(index: Sequence[VideoIndex], row: int) -> str:
    """Which segment of which video a row of a store is, in words.

    >>> place_of_row([VideoIndex("gate", 0, 4, 64, None), VideoIndex("yard", 4, 9, 80, None)], 6)
    "video 'yard', segment 2"
    """
    owner = next((entry for entry in index if entry.start <= row < entry.stop), None)
    return f"video '{owner.video}', segment {row - owner.start}" if owner else f"row {row}"


class FeatureStore:
    """Read access to a finished store; nothing is loaded before it is asked for.

    Attributes:
        path: the folder.
        features: read-only memory map, shape (N, C, D), float16 or float32.
        valid: read-only memory map (N, C) bool, or None where every region is always present.
        regions: read-only memory map (N, C, 4) float16, where each region is; None where they are fixed places, which
            the extractor knows, or of no place.
        index: the videos in row order of ``index.csv``.
        info: contents of ``store.json``.
        looked_through: videos whose values this process has found usable, see
            :func:`~clap_vad.features.store.streaming.blocks`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = _read_info(path)
        self.features = _map(path / "features.npy", 3)
        if self.features.dtype not in (np.float16, np.float32):
            raise ClapError(f"{path / 'features.npy'}: dtype {self.features.dtype}; float16 or float32 is needed")
        self.valid: np.ndarray | None = None
        if (path / "valid.npy").exists():
            self.valid = _map(path / "valid.npy", 2)
            if self.valid.shape != self.features.shape[:2] or self.valid.dtype != np.bool_:
                raise ClapError(
                    f"{path / 'valid.npy'}: {self.valid.dtype} {self.valid.shape} does not fit features "
                    f"{self.features.shape}; bool (N, C) is needed"
                )
        self.regions: np.ndarray | None = None
        if (path / "regions.npy").exists():
            self.regions = _map(path / "regions.npy", 3)
            if self.regions.shape != (*self.features.shape[:2], 4) or self.regions.dtype != REGIONS:
                raise ClapError(
                    f"{path / 'regions.npy'}: {self.regions.dtype} {self.regions.shape} does not fit features "
                    f"{self.features.shape}; float16 (N, C, 4) is needed; extract them again"
                )
        self.index = tuple(_read_index(path / "index.csv", len(self.features)))
        self.looked_through: set[str] = set()
        self._by_name = {entry.video: entry for entry in self.index}

    @property
    def segments(self) -> int:
        """N, the number of segments of all videos."""
        return int(self.features.shape[0])

    @property
    def crops(self) -> int:
        """C, crops per segment."""
        return int(self.features.shape[1])

    @property
    def dim(self) -> int:
        """D, floats per crop."""
        return int(self.features.shape[2])

    @property
    def segment_frames(self) -> int:
        """Frames per segment."""
        return int(self.info["segment_frames"])

    @property
    def extractor(self) -> str:
        """Name of the extractor or import format that made the features."""
        return str(self.info["extractor"])

    def __contains__(self, video: object) -> bool:
        return video in self._by_name

    def video(self, name: str) -> VideoIndex:
        """The index entry of a video; raises :class:`ClapError` when the store does not hold it."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ClapError(f"{self.path / 'index.csv'}: no video '{name}' in this store") from None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) as a float32 copy, (stop - start, C, D)."""
        return np.array(self.features[start:stop], dtype=np.float32)


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ClapError(f"{path}: no feature store there; make one with 'clap features extract' or 'import'")
    if not (path / "store.json").exists():
        if (path / "writing.json").exists():
            raise ClapError(f"{path}: this store was never finished; repeat the command that wrote it to resume")
        raise ClapError(f"{path}: not a feature store (store.json is missing)")
    info = read_json(path / "store.json")
    version = info.get("schema_version") if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise ClapError(f"{path / 'store.json'}: schema version {version}; this release reads {SCHEMA_VERSION}")
    for key in ("extractor", "segment_frames"):
        if key not in info:
            raise ClapError(f"{path / 'store.json'}: '{key}' is missing; extract or import the features again")
    if not isinstance(info.get("settings", {}), dict) or info.get("normalise", "none") not in NORMALISE:
        raise ClapError(f"{path / 'store.json'}: 'settings' must be an object and 'normalise' {' or '.join(NORMALISE)}")
    if type(info["segment_frames"]) is not int or info["segment_frames"] < 1:
        raise ClapError(f"{path / 'store.json'}: 'segment_frames' must be a whole number from 1")
    return info


def _map(file: Path, ndim: int) -> np.ndarray:
    if not file.exists():
        remedy = "the file it points to has moved; import it again" if file.is_symlink() else "extract it again"
        raise ClapError(f"{file}: missing; {remedy}")
    array = map_npy(file, "bfiu")
    if array.ndim != ndim:
        raise ClapError(f"{file}: {array.ndim} dimensions {array.shape}; {ndim} are needed")
    if 0 in array.shape[1:]:
        raise ClapError(f"{file}: shape {array.shape} holds no features; extract or import them again")
    if not array.flags.c_contiguous:
        raise ClapError(f"{file}: column-major array; row-major is needed, import it again")
    return array


def _read_index(file: Path, rows: int) -> list[VideoIndex]:
    if not file.exists():
        raise ClapError(f"{file}: missing; the store cannot be read without its index")
    table = read_table(file, INDEX_HEADER, INDEX_HEADER, others=True)
    entries = [_parse_index_row(file, row, rows) for row in table]
    seen: set[str] = set()
    for row, entry in zip(table, entries, strict=True):
        if entry.video in seen:
            raise ClapError(f"{file}: line {row.line}: video '{entry.video}' stands twice; names must be unique")
        seen.add(entry.video)
    return entries


def _parse_index_row(file: Path, row: Row, rows: int) -> VideoIndex:
    line, video = row.line, row.values["video"]
    try:
        start, stop, frames = (int(row.values[key]) for key in ("start", "stop", "frames"))
        fps = parse_number(row.values["fps"]) if row.values["fps"] else None
    except ValueError:
        raise ClapError(
            f"{file}: line {line}: {','.join(row.values.values())!r} is not 'video,start,stop,frames,fps'"
        ) from None
    if not video or unprintable(video):
        raise ClapError(f"{file}: line {line}: {video!r} cannot name a video; rename its file and make the store again")
    if not 0 <= start < stop <= rows:
        raise ClapError(f"{file}: line {line}: rows [{start}, {stop}) do not lie within the store's {rows} segments")
    if not 1 <= frames <= MOST_FRAMES or (fps is not None and not (math.isfinite(fps) and fps > 0)):
        raise ClapError(
            f"{file}: line {line}: frames must be at least 1 and at most {MOST_FRAMES}, fps positive or empty"
        )
    return VideoIndex(video, start, stop, frames, fps)
