"""Part files: the features of one finished video, until they are appended to the store.

Workers finish videos in any order; the store is sorted. A part has three files of rows and a ``.json`` file, which is
written last: a part with its ``.json`` is complete and survives a kill.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ...persistence import read_json, write_json
from ..segments import SegmentFeatures
from ..store.reader import REGIONS
from .extractor import Ending, Extractor

__all__ = ["Part", "PartsFolder", "write_part"]

_READ_BYTES = 8 << 20
_SUFFIXES = (".features", ".valid", ".regions")


@dataclass(frozen=True)
class Part:
    """A finished part: number of segments and facts about the video."""

    segments: int
    ending: Ending


class PartsFolder:
    """Hidden folder next to the store; kept after an interruption, removed when the store is finished.

    Parts of another extractor, other settings or other weights are deleted.
    """

    def __init__(self, store: Path, name: str, extractor: Extractor) -> None:
        self.path = store.with_name(f".{store.name}.parts")
        self._shape = (extractor.crops, extractor.dim)
        self._with_valid, self._with_regions = extractor.with_valid, extractor.with_regions
        marker = self.path / "settings.json"
        description: dict[str, Any] = {
            "extractor": name,
            "settings": extractor.settings(),
            "weights": extractor.weights_sha256,
        }
        if extractor.track is not None:
            description["track"] = extractor.track
        if self.path.exists() and not (marker.exists() and read_json(marker) == description):
            shutil.rmtree(self.path)
        if not marker.exists():
            write_json(marker, description)

    def stem(self, video: str) -> Path:
        """Path of a video's part without suffixes; safe for video names that cannot be file names."""
        return self.path / sha256(video.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def find(self, video: str, source: Path, rows: bool = True) -> Part | None:
        """The finished part of a video; None if there is none or the source has changed.

        With ``rows``, its rows must still exist.
        """
        file = self.stem(video).with_suffix(".json")
        if not file.exists():
            return None
        content = read_json(file)
        ending = content["ending"]
        known = {
            **ending,
            "notes": tuple(ending["notes"]),
            "times": None,
        }  # a store has no times of frames
        part = Part(content["segments"], Ending(**known))
        crops, dim = self._shape
        features = file.with_suffix(".features")
        there = features.exists() and features.stat().st_size == part.segments * crops * dim * 4
        return part if content["source"] == _fingerprint(source) and (there or not rows) else None

    def blocks(self, video: str, part: Part) -> Iterator[SegmentFeatures]:
        """Yield the rows of a part in blocks of bounded size."""
        stem, (crops, dim) = self.stem(video), self._shape
        step = max(1, _READ_BYTES // (4 * crops * dim))
        for start in range(0, part.segments, step):
            n = min(step, part.segments - start)
            skipped = start * crops
            features = np.fromfile(stem.with_suffix(".features"), "<f4", n * crops * dim, offset=skipped * dim * 4)
            valid = None
            if self._with_valid:
                valid = np.fromfile(stem.with_suffix(".valid"), np.bool_, n * crops, offset=skipped).reshape(n, crops)
            regions = None
            if self._with_regions:
                file, size = stem.with_suffix(".regions"), REGIONS.itemsize * 4
                regions = np.fromfile(file, REGIONS, n * crops * 4, offset=skipped * size).reshape(n, crops, 4)
            yield SegmentFeatures(features.reshape(n, crops, dim), valid, regions)

    def drop_rows(self, video: str) -> None:
        """Delete the rows of a part that is now in the store; its ending is kept for the report."""
        for suffix in _SUFFIXES:
            self.stem(video).with_suffix(suffix).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def write_part(stem: Path, source: Path, extractor: Extractor) -> Iterator[int]:
    """Extract a file into part files, block by block; yields the number of segments so far."""
    extraction, with_regions = extractor.extract(source), extractor.with_regions
    segments = 0
    fingerprint = _fingerprint(source)
    with contextlib.ExitStack() as stack:
        kinds: tuple[Any, ...] = ("<f4", np.bool_, REGIONS)
        files = [stack.enter_context(stem.with_suffix(suffix).open("wb")) for suffix in _SUFFIXES]
        for block in extraction:
            for file, rows, dtype in zip(files, block, kinds, strict=True):
                if rows is not None and (file is not files[2] or with_regions):
                    file.write(np.ascontiguousarray(rows, dtype).data)
            segments += len(block.features)
            yield segments
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    ending = asdict(replace(extraction.ending, times=None))
    write_json(stem.with_suffix(".json"), {"segments": segments, "ending": ending, "source": fingerprint})


def _fingerprint(source: Path) -> list[int]:
    """Size, modification time and number of folder entries of the source, to detect changes; [] if unreadable."""
    try:
        status = source.stat()
        return [status.st_size, status.st_mtime_ns, sum(1 for _ in source.iterdir()) if source.is_dir() else 1]
    except OSError:  # its reader reports the reason
        return []
