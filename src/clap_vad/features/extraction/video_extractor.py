"""Base class of extractors that read pictures, from files or cameras.

A subclass sets the picture size and makes a :class:`SegmentMaker` for each video. This module handles sampling, time
stamps and blocks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ...core.events.detection import ASSUMED_FPS
from ...core.events.timing import FrameTimes, TimesBuilder
from ...errors import ClapError
from ...settings import option
from ...video.ahead import ahead
from ...video.folder import sort_videos
from ...video.names import is_video
from ...video.reader import VideoReader
from ...video.sorting import Sorted
from ...video.times import check_rate
from ...video.tracks import check_track
from ..segments import SegmentFeatures
from .extractor import Ending, Extractor

__all__ = ["SegmentMaker", "VideoExtractor", "check_stride"]

_UNEVEN = 0.25  # share of the usual step by which the steps of a segment may differ
_BLOCK_SEGMENTS = 16  # about ten seconds of video per block


class SegmentMaker(Protocol):
    """Computes the features of a video segment by segment."""

    def add(self, picture: np.ndarray) -> None:
        """Add the next picture, (H, W) or (H, W, 3) uint8; all pictures of a video have the same size."""

    def finish(self) -> SegmentFeatures:
        """The features (n = 1) of the pictures since the last call, 1 to ``segment_frames`` of them."""


@dataclass(frozen=True, kw_only=True)
class VideoExtractor(Extractor):
    """Base of extractors that read videos, folders of frames and cameras."""

    colour: ClassVar[bool] = False
    """Whether it uses RGB pictures."""

    lead: ClassVar[int] = 0
    """Number of pictures decoded in advance in a thread; 0 for none."""

    rate: float | None = option(None, "Sample this many pictures per second. [default: all]")
    fps: float = option(ASSUMED_FPS, "Frames per second of inputs that declare none (folders of frames).")
    track: int | None = option(
        None, "Number of the video track in each file, from 1. [default: the one with the most pictures]", machine=True
    )

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_track(self.track)
        if not 0 < self.fps < 1000:
            raise ClapError(f"fps is {self.fps}; give a positive number of frames per second")

    @property
    def picture_side(self) -> int | None:
        """Longest side in pixels; larger pictures are shrunk. None keeps their size."""
        return None

    @abstractmethod
    def maker(self, fps: float) -> SegmentMaker:
        """A new maker for one video with ``fps`` pictures per second."""

    def accepts(self, path: Path) -> bool:
        return is_video(path)

    def sort_folder(self, folder: Path, names: Sequence[str], outward: Collection[str], subfolders: bool) -> Sorted:
        return sort_videos(folder, names, outward, subfolders)

    def settings(self) -> dict[str, Any]:
        """As for all extractors, but without ``rate`` if it is not set, as in stores of earlier releases."""
        found = super().settings()
        if self.rate is None:
            del found["rate"]
        return found

    def blocks(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        choice: dict[str, Any] = {"rate": self.rate, "fps": self.fps, "track": self.track}
        reader = VideoReader(path, side=self.picture_side, colour=self.colour, **choice)
        maker = self.maker(reader.fps)
        times = TimesBuilder(reader.fps, self.segment_frames)
        rows: list[SegmentFeatures] = []
        frames = 0
        with closing(ahead(_timed(reader), self.lead)) as pictures:
            for seconds, picture in pictures:
                if frames % self.segment_frames == 0:
                    if frames:
                        rows.append(maker.finish())
                    if len(rows) == _BLOCK_SEGMENTS:
                        yield SegmentFeatures.joined(rows)
                        rows = []
                times.add(seconds)
                maker.add(picture)
                frames += 1
        rows.append(maker.finish())
        yield SegmentFeatures.joined(rows)
        shown = times.times() if reader.stated else None
        remarks = (*reader.notes, reader.repairs.summary(), _uneven_note(shown) if self.rate is None else None)
        notes = tuple(note for note in remarks if note)
        return Ending(frames, reader.fps, reader.truncated, notes, shown, reader.started)


def check_stride(extractor: str, stride: int) -> None:
    """Raise :class:`ClapError` for a stride, in pictures, that does not divide a segment's 16."""
    if stride not in (1, 2, 4, 8, 16):
        raise ClapError(f"{extractor}: stride is {stride}; give 1, 2, 4, 8 or 16")


def _timed(reader: VideoReader) -> Iterator[tuple[float, np.ndarray]]:
    for picture in reader:
        yield reader.seconds, picture


def _uneven_note(times: FrameTimes | None) -> str | None:
    if times is None:
        return None
    longest = float((times.begins - times.ends).max())
    steps = (times.ends[1:] - times.begins[:-1]) / np.diff(times.at)
    if not longest and (np.abs(steps - np.median(steps)) <= _UNEVEN * np.median(steps)).all():
        return None  # an even rate that differs a little from the declared one
    gap = f", longest gap {longest:.0f} seconds" if longest else ""
    return f"its frames are not evenly spaced in time{gap}; use --rate to sample them evenly"
