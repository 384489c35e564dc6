"""Tracks: statistics of the boxes in a track file, per person and segment or per segment."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np

from ...errors import ClapError
from ...settings import option
from ..extraction.extractor import EXTRACTORS, Ending, Extractor
from ..measures.persons import PERSON_FEATURES, POSITION, TrackSlots, look_back, person_quantities, person_statistics
from ..measures.track_files import read_tracks
from ..measures.tracks import SEGMENT_FEATURES, box_quantities, segment_statistics
from ..roles import Roles
from ..segments import SegmentFeatures

__all__ = ["Tracks"]

_BLOCK_SEGMENTS = 1024


@EXTRACTORS.register("tracks")
@dataclass(frozen=True)
class Tracks(Extractor):
    """Features (T, persons, 10) with a mask of valid track slots, or (T, 1, 34) of all boxes of a segment."""

    whole_segments = MappingProxyType({"form": "segment"})

    form: Literal["segment", "person"] = option(
        "person", "person: features per person and segment; segment: features per segment."
    )
    persons: int = option(32, "Form person: track slots, the most persons per segment.")
    lag: int = option(5, "Form segment: longest time in frames between the two boxes of a velocity.")
    fps: float | None = option(None, "Frames per second. [default: those of the format, see the documentation]")
    width: int | None = option(None, "Picture width in pixels. [default: that of the format]")
    height: int | None = option(None, "Picture height in pixels. [default: that of the format]")

    def __post_init__(self) -> None:
        if not 1 <= self.persons <= 1024:
            raise ClapError(f"tracks: persons is {self.persons}; give 1 to 1024")
        if not 1 <= self.lag <= 1000:
            raise ClapError(f"tracks: lag is {self.lag}; give 1 to 1000 frames")
        if self.fps is not None and not 0 < self.fps < 1000:
            raise ClapError(f"tracks: fps is {self.fps}; give a positive number of frames per second")
        if (self.width is not None and self.width < 1) or (self.height is not None and self.height < 1):
            raise ClapError(f"tracks: the picture is {self.width} x {self.height} pixels; give positive numbers")

    @property
    def crops(self) -> int:
        return 1 if self.form == "segment" else self.persons

    @property
    def dim(self) -> int:
        return len(SEGMENT_FEATURES if self.form == "segment" else PERSON_FEATURES)

    @property
    def with_valid(self) -> bool:
        return self.form == "person"

    @property
    def with_regions(self) -> bool:
        return self.form == "person"

    @property
    def roles(self) -> Roles:
        """Positions in the picture are specific to a camera; a track slot follows one person."""
        if self.form == "person":
            return Roles(position=POSITION, followed=True)
        columns = [k for k, name in enumerate(SEGMENT_FEATURES) if name.split()[0] in ("x", "y")]
        return Roles(position=tuple(columns))

    def accepts(self, path: Path) -> bool:
        """Text and CSV files, but not MOTChallenge detections or plain lists (one word per line)."""
        if path.suffix.lower() not in (".txt", ".csv") or path.name == "det.txt" or not path.is_file():
            return False
        with path.open("rb") as handle:
            first = handle.readline(4096).strip()
        return not first or b"," in first or b";" in first or len(first.split()) > 1 or not first.isascii()

    def video_name(self, path: Path) -> str:
        """The name of the file, or of the sequence S for MOTChallenge tracks in ``S/gt/gt.txt``."""
        if path.name == "gt.txt" and path.parent.name == "gt":
            return super().video_name(path.resolve().parent.parent)
        return super().video_name(path)

    def blocks(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        tracks = read_tracks(path)
        size = (self.width or tracks.size[0], self.height or tracks.size[1])
        fps = self.fps or tracks.fps
        segments = -(-tracks.frames // self.segment_frames)
        slots, left_out = TrackSlots(self.persons), 0
        # acceleration looks back over two lags; earlier boxes are not needed
        past = 2 * self.lag if self.form == "segment" else look_back(fps)
        for start in range(0, segments, _BLOCK_SEGMENTS):
            stop = min(start + _BLOCK_SEGMENTS, segments)
            first = start * self.segment_frames
            begin, own, end = np.searchsorted(tracks.frame, [first - past, first, stop * self.segment_frames]).tolist()
            frame, person, box = (column[begin:end] for column in (tracks.frame, tracks.person, tracks.box))
            now = slice(own - begin, None)
            segment = frame[now] // self.segment_frames - start
            if self.form == "segment":
                quantities = box_quantities(frame, person, box, fps=fps, size=size, lag=self.lag)[now]
                ends = np.minimum(np.arange(start + 1, stop + 1) * self.segment_frames, tracks.frames)
                lengths = ends - np.arange(start, stop) * self.segment_frames
                yield SegmentFeatures(segment_statistics(quantities, segment, frame[now], lengths)[:, None, :])
            else:
                quantities = person_quantities(frame, person, box, fps=fps, size=size)[now]
                placed = np.column_stack([quantities, np.clip(box[now] / np.tile(size, 2), 0, 1)])
                means, valid, dropped = person_statistics(
                    placed, segment, person[now], stop - start, slots, self.persons
                )
                left_out += dropped
                features, regions = np.split(means, [self.dim], axis=2)
                yield SegmentFeatures(features, valid, regions)
        notes = (f"{left_out} persons beyond {self.persons} in a segment were left out",) if left_out else ()
        return Ending(tracks.frames, fps, notes=notes)
