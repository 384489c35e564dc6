"""Extractors that look at pictures: what they share, whether a file is read or a camera watched.

A subclass says how large its pictures are to be and makes, for each video, a :class:`SegmentMaker` that takes in one
picture after the other. Sampling, time stamps and blocks are done here.
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

_UNEVEN = 0.25  # of the usual step, by which those of a segment may differ
_BLOCK_SEGMENTS = 16  # about ten seconds of video per block


class SegmentMaker(Protocol):
    """Makes the features of one segment after the other of one video."""

    def add(self, picture: np.ndarray) -> None:
        """Take in the next picture, (H, W) or, in colour, (H, W, 3) uint8, all of a video of one size."""

    def finish(self) -> SegmentFeatures:
        """The segment (n = 1) of what was taken in since the last call: 1 to ``segment_frames`` pictures."""


@dataclass(frozen=True, kw_only=True)
class VideoExtractor(Extractor):
    """Base of extractors that read videos, folders of frames and cameras."""

    colour: ClassVar[bool] = False
    """Whether it looks at RGB pictures."""

    lead: ClassVar[int] = 0
    """Pictures that may be decoded ahead, in a thread, while features are made; 0 for none."""

    rate: float | None = option(None, "Take so many pictures a second, whatever the video has; by default all.")
    fps: float = option(ASSUMED_FPS, "Frames per second where the input does not say (folders of frames).")
    track: int | None = option(
        None, "Take this video track of each file, from 1; by default the one with most pictures.", machine=True
    )

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_track(self.track)
        if not 0 < self.fps < 1000:
            raise ClapError(f"fps is {self.fps}; a positive number of frames per second is needed")

    @property
    def picture_side(self) -> int | None:
        """Pictures are shrunk until their longer side has at most this many pixels; None keeps their size."""
        return None

    @abstractmethod
    def maker(self, fps: float) -> SegmentMaker:
        """What makes the features of one video, whose pictures come ``fps`` a second."""

    def accepts(self, path: Path) -> bool:
        return is_video(path)

    def sort_folder(self, folder: Path, names: Sequence[str], outward: Collection[str], subfolders: bool) -> Sorted:
        return sort_videos(folder, names, outward, subfolders)

    def settings(self) -> dict[str, Any]:
        """As for all, but for a ``rate`` that is not set: features made before it existed are the same features."""
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
        told = (*reader.notes, reader.repairs.told(), _uneven_note(shown) if self.rate is None else None)
        notes = tuple(note for note in told if note)
        return Ending(frames, reader.fps, reader.truncated, notes, shown, reader.started)


def check_stride(extractor: str, stride: int) -> None:
    """Raise :class:`ClapError` for a stride, in pictures, that does not divide a segment's 16."""
    if stride not in (1, 2, 4, 8, 16):
        raise ClapError(f"{extractor}: stride is {stride}; one of 1, 2, 4, 8, 16 is needed")


def _timed(reader: VideoReader) -> Iterator[tuple[float, np.ndarray]]:
    for picture in reader:
        yield reader.seconds, picture


def _uneven_note(times: FrameTimes | None) -> str | None:
    if times is None:
        return None
    longest = float((times.begins - times.ends).max())
    steps = (times.ends[1:] - times.begins[:-1]) / np.diff(times.at)
    if not longest and (np.abs(steps - np.median(steps)) <= _UNEVEN * np.median(steps)).all():
        return None  # a rate a little other than stated
    hole = f", with {longest:.0f} seconds without a picture at most" if longest else ""
    return f"its frames are not evenly spaced in time{hole}; --rate takes them evenly"
