"""The feature store: segment features of many videos in one memory-mapped file.

A store is a folder with

- ``features.npy``: (N, C, D) float16 or float32,
- ``index.csv``: ``video,start,stop,frames,fps``; a video has the rows [start, stop),
- ``valid.npy``: (N, C) bool, only if regions may be invalid,
- ``regions.npy``: (N, C, 4) float16, only if regions move; left, top, right, bottom, 0..1 of the picture,
- ``store.json``: written last; a folder without it is an unfinished store and is refused.
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
"""Type of ``regions.npy``: its precision of a thousandth of the picture is enough for outlines."""
MOST_FRAMES = 100_000_000
"""Most frames of one video: six weeks at 25 per second. A file that declares more is damaged or malicious."""


@dataclass(frozen=True)
class VideoIndex:
    """The index entry of one video.

    Attributes:
        video: unique name.
        start, stop: its rows [start, stop).
        frames: number of frames of the video.
        fps: frames per second; None if unknown (imported features).
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
    """The video and segment of a row, in words.

    >>> place_of_row([VideoIndex("gate", 0, 4, 64, None), VideoIndex("yard", 4, 9, 80, None)], 6)
    "video 'yard', segment 2"
    """
    owner = next((entry for entry in index if entry.start <= row < entry.stop), None)
    return f"video '{owner.video}', segment {row - owner.start}" if owner else f"row {row}"


class FeatureStore:
    """Read access to a finished store. Features are loaded on access.

    Attributes:
        path: the folder.
        features: read-only memory map, shape (N, C, D), float16 or float32.
        valid: read-only memory map (N, C) bool; None if all regions are valid.
        regions: read-only memory map (N, C, 4) float16, the moving regions; None if regions are fixed (see
            ``Extractor.places``) or unknown.
        index: the videos in row order of ``index.csv``.
        info: contents of ``store.json``.
        looked_through: videos whose values this process has checked, see
            :func:`~clap_vad.features.store.streaming.blocks`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info = _read_info(path)
        self.features = _map(path / "features.npy", 3)
        if self.features.dtype not in (np.float16, np.float32):
            raise ClapError(
                f"{path / 'features.npy'}: dtype is {self.features.dtype}, not float16 or float32; import it again"
            )
        self.valid: np.ndarray | None = None
        if (path / "valid.npy").exists():
            self.valid = _map(path / "valid.npy", 2)
            if self.valid.shape != self.features.shape[:2] or self.valid.dtype != np.bool_:
                raise ClapError(
                    f"{path / 'valid.npy'}: {self.valid.dtype} {self.valid.shape} does not fit features "
                    f"{self.features.shape}, it must be bool (N, C); extract the features again"
                )
        self.regions: np.ndarray | None = None
        if (path / "regions.npy").exists():
            self.regions = _map(path / "regions.npy", 3)
            if self.regions.shape != (*self.features.shape[:2], 4) or self.regions.dtype != REGIONS:
                raise ClapError(
                    f"{path / 'regions.npy'}: {self.regions.dtype} {self.regions.shape} does not fit features "
                    f"{self.features.shape}, it must be float16 (N, C, 4); extract the features again"
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
        """C, regions (crops) per segment."""
        return int(self.features.shape[1])

    @property
    def dim(self) -> int:
        """D, features per region."""
        return int(self.features.shape[2])

    @property
    def segment_frames(self) -> int:
        """Frames per segment."""
        return int(self.info["segment_frames"])

    @property
    def extractor(self) -> str:
        """Name of the extractor or import format of the features."""
        return str(self.info["extractor"])

    def __contains__(self, video: object) -> bool:
        return video in self._by_name

    def video(self, name: str) -> VideoIndex:
        """The index entry of a video; raises :class:`ClapError` if it is not in the store."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ClapError(f"{self.path / 'index.csv'}: no video '{name}' in this store; correct the name") from None

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) as a float32 copy, (stop - start, C, D)."""
        return np.array(self.features[start:stop], dtype=np.float32)


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ClapError(f"{path}: not a feature store; make one with 'clap features extract' or 'import'")
    if not (path / "store.json").exists():
        if (path / "writing.json").exists():
            raise ClapError(f"{path}: this store is unfinished; repeat the command that wrote it to resume")
        raise ClapError(f"{path}: not a feature store (store.json is missing); give another folder")
    info = read_json(path / "store.json")
    version = info.get("schema_version") if isinstance(info, dict) else None
    if version != SCHEMA_VERSION:
        raise ClapError(
            f"{path / 'store.json'}: schema version {version}, but this release reads {SCHEMA_VERSION}; "
            "install the release that wrote the store"
        )
    for key in ("extractor", "segment_frames"):
        if key not in info:
            raise ClapError(f"{path / 'store.json'}: '{key}' is missing; extract or import the features again")
    if not isinstance(info.get("settings", {}), dict) or info.get("normalise", "none") not in NORMALISE:
        raise ClapError(f"{path / 'store.json'}: 'settings' must be an object and 'normalise' {' or '.join(NORMALISE)}")
    if type(info["segment_frames"]) is not int or info["segment_frames"] < 1:
        raise ClapError(f"{path / 'store.json'}: 'segment_frames' must be an integer of at least 1")
    return info


def _map(file: Path, ndim: int) -> np.ndarray:
    if not file.exists():
        remedy = "its link target has moved, import it again" if file.is_symlink() else "extract it again"
        raise ClapError(f"{file}: missing; {remedy}")
    array = map_npy(file, "bfiu")
    if array.ndim != ndim:
        raise ClapError(f"{file}: shape {array.shape} must have {ndim} dimensions; extract or import it again")
    if 0 in array.shape[1:]:
        raise ClapError(f"{file}: shape {array.shape} contains no features; extract or import them again")
    if not array.flags.c_contiguous:
        raise ClapError(f"{file}: column-major array instead of row-major; import it again")
    return array


def _read_index(file: Path, rows: int) -> list[VideoIndex]:
    if not file.exists():
        raise ClapError(f"{file}: missing; restore it, or extract or import the features again")
    table = read_table(file, INDEX_HEADER, INDEX_HEADER, others=True)
    entries = [_parse_index_row(file, row, rows) for row in table]
    seen: set[str] = set()
    for row, entry in zip(table, entries, strict=True):
        if entry.video in seen:
            raise ClapError(f"{file}: line {row.line}: video '{entry.video}' is listed twice; make the store again")
        seen.add(entry.video)
    return entries


def _parse_index_row(file: Path, row: Row, rows: int) -> VideoIndex:
    line, video = row.line, row.values["video"]
    try:
        start, stop, frames = (int(row.values[key]) for key in ("start", "stop", "frames"))
        fps = parse_number(row.values["fps"]) if row.values["fps"] else None
    except ValueError:
        raise ClapError(
            f"{file}: line {line}: {','.join(row.values.values())!r} is not 'video,start,stop,frames,fps'; "
            "make the store again"
        ) from None
    if not video or unprintable(video):
        raise ClapError(f"{file}: line {line}: {video!r} cannot name a video; rename its file and make the store again")
    if not 0 <= start < stop <= rows:
        raise ClapError(f"{file}: line {line}: rows [{start}, {stop}) are outside the store's {rows} segments")
    if not 1 <= frames <= MOST_FRAMES or (fps is not None and not (math.isfinite(fps) and fps > 0)):
        raise ClapError(
            f"{file}: line {line}: frames must be at least 1 and at most {MOST_FRAMES}, fps positive or empty"
        )
    return VideoIndex(video, start, stop, frames, fps)
