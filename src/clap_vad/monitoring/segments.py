"""From live pictures to scored segments: the part of a session without files, sockets or events."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ..core.events.regions import Region, peak_region
from ..core.events.timing import hole_after
from ..detector.model import Model
from ..detector.stream import StreamScorer
from ..errors import ClapError
from ..features.extraction.video_extractor import SegmentMaker, VideoExtractor
from ..video.live_items import Connected, Ended, Item, Shot

__all__ = ["ScoredSegment", "SegmentScorer"]


@dataclass(frozen=True)
class ScoredSegment:
    """A scored segment [start, stop) on the stream's clock.

    Attributes:
        start, stop: seconds on the stream's clock.
        score: in [0, 1]; NaN if its features are invalid.
        frames: number of its pictures.
        latency: seconds from its last picture's arrival to its score.
        region: region of the picture with the high score; None if unknown.
    """

    start: float
    stop: float
    score: float
    frames: int
    latency: float
    region: Region | None = None

    @property
    def scored(self) -> bool:
        """Whether it has a score."""
        return math.isfinite(self.score)


class SegmentScorer:
    """Takes the items of a :class:`~clap_vad.video.live.LiveReader` gives.

    Segments never span a gap (a lost connection, dropped pictures, a second or three steps without one): after it a new
    segment begins and scores use no earlier ones, as in training.

    Args:
        model, extractor: of a run.
    """

    def __init__(self, model: Model, extractor: VideoExtractor) -> None:
        self._model, self._extractor = model, extractor
        self._fps = extractor.fps
        self._maker: SegmentMaker | None = None
        self._scorer: StreamScorer | None = None
        self._start = self._stop = -math.inf
        self._last = math.inf
        self._frames = 0

    def take(self, item: Item) -> ScoredSegment | None:
        """The segment that this item completes, if any."""
        if isinstance(item, Shot):
            return self._picture(item)
        if isinstance(item, Ended):
            return self._finish(time.monotonic()) if self._frames else None
        if isinstance(item, Connected):
            self._fps = item.fps
        self._break()
        return None

    def _picture(self, shot: Shot) -> ScoredSegment | None:
        if shot.seconds - self._last > hole_after(1 / self._fps):
            self._break()
        if self._maker is None:
            self._maker = self._extractor.maker(self._fps)
        if self._frames == 0:
            self._start = shot.seconds
        self._maker.add(shot.picture)
        self._last = shot.seconds
        self._frames += 1
        return self._finish(shot.arrived) if self._frames == self._extractor.segment_frames else None

    def _finish(self, arrived: float) -> ScoredSegment:
        """Score the pictures since the last segment."""
        assert self._maker is not None  # a picture has been taken in
        if self._scorer is None:
            self._scorer = StreamScorer(self._model, self._fps)
        region = None
        try:
            segment = self._extractor.placed(self._maker.finish())
            valid = None if segment.valid is None else segment.valid[0]
            score, contributions = self._scorer.add(segment.features[0], valid)
            if segment.regions is not None and math.isfinite(score):
                region = peak_region(contributions, segment.regions[0], valid)
        except ClapError:  # the network gave invalid features; the next segment may be better
            score = math.nan
        # pictures of a stream jitter: consecutive segments share their border
        follows = self._start - self._stop < 1.5 / self._fps
        start = self._stop if follows else self._start
        stop = max(self._last + 1 / self._fps, start + 0.1 / self._fps)
        done = ScoredSegment(start, stop, score, self._frames, time.monotonic() - arrived, region)
        self._stop, self._frames = stop, 0
        if not done.scored:
            self._break()
        return done

    def _break(self) -> None:
        self._maker = self._scorer = None
        self._frames, self._last = 0, math.inf  # nothing is later: the next picture does not count as a gap again
