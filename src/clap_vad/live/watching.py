"""From pictures as they come to scored segments and events: the part of a watch that knows no files and no sockets."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ..core.events.ongoing import Change, OngoingEvents
from ..core.events.regions import peak_region
from ..core.events.timing import hole_after
from ..detector.model import Model
from ..detector.stream import StreamScorer
from ..errors import ClapError
from ..features.extraction.video_extractor import SegmentMaker, VideoExtractor
from ..video.live import Connected, Ended, Item, Lost, Shot

__all__ = ["ScoredSegment", "Watching"]


@dataclass(frozen=True)
class ScoredSegment:
    """A segment [start, stop) of the stream's clock, of so many pictures.

    ``latency`` is the seconds from when its last picture was at hand to when its score was; ``score`` is NaN where its
    features are of no use.
    """

    start: float
    stop: float
    score: float
    frames: int
    latency: float


class Watching:
    """Takes in what a :class:`~clap_vad.video.live.LiveReader` hands over.

    Segments never reach over a hole (a lost connection, dropped pictures, a second or three steps without one): behind
    it a new segment begins and scores look back no further, so what is scored is what the model knows.

    Args:
        model, extractor: of a run.
        events: tells them.
    """

    def __init__(self, model: Model, extractor: VideoExtractor, events: OngoingEvents) -> None:
        self._model, self._extractor, self._events = model, extractor, events
        self._fps = extractor.fps
        self._maker: SegmentMaker | None = None
        self._scorer: StreamScorer | None = None
        self._start = self._stop = -math.inf
        self._last = math.inf
        self._frames = 0

    def take(self, item: Item) -> tuple[ScoredSegment | None, list[Change]]:
        """The segment that this item finishes, if any, and what changes by it."""
        if isinstance(item, Shot):
            return self._picture(item)
        if isinstance(item, Ended):
            done, changes = self._finish(time.monotonic()) if self._frames else (None, [])
            return done, changes + self._events.finish()
        if isinstance(item, Connected):
            self._fps = item.fps
        self._break()
        return None, self._events.pass_until(item.seconds) if isinstance(item, Lost) else []

    def pass_until(self, now: float) -> list[Change]:
        """What changes because it is ``now`` on the stream's clock and nothing comes."""
        return self._events.pass_until(now)

    def close(self) -> list[Change]:
        """What changes because nobody watches any longer."""
        return self._events.finish()

    def _picture(self, shot: Shot) -> tuple[ScoredSegment | None, list[Change]]:
        if shot.seconds - self._last > hole_after(1 / self._fps):
            self._break()
        if self._maker is None:
            self._maker = self._extractor.maker(self._fps)
        if self._frames == 0:
            self._start = shot.seconds
        self._maker.add(shot.picture)
        self._last = shot.seconds
        self._frames += 1
        return self._finish(shot.arrived) if self._frames == self._extractor.segment_frames else (None, [])

    def _finish(self, arrived: float) -> tuple[ScoredSegment, list[Change]]:
        """Score the pictures taken in since the last segment."""
        assert self._maker is not None  # a picture has been taken in
        if self._scorer is None:
            self._scorer = StreamScorer(self._model, self._fps)
        region = None
        try:
            segment = self._extractor.placed(self._maker.finish())
            valid = None if segment.valid is None else segment.valid[0]
            score, contributions = self._scorer.add(segment.features[0], valid)
            if segment.regions is not None:
                region = peak_region(contributions, segment.regions[0], valid)
        except ClapError:  # the network gave features of no use; the next segment may be better
            score = math.nan
        # pictures of a stream jitter: segments that follow each other share their border
        follows = self._start - self._stop < 1.5 / self._fps
        start = self._stop if follows else self._start
        stop = max(self._last + 1 / self._fps, start + 0.1 / self._fps)
        done = ScoredSegment(start, stop, score, self._frames, time.monotonic() - arrived)
        self._stop, self._frames = stop, 0
        if not math.isfinite(score):
            self._break()
            return done, []
        return done, self._events.add(start, stop, score, region)

    def _break(self) -> None:
        self._maker = self._scorer = None
        self._frames, self._last = 0, math.inf  # nothing is later than that: the next picture is no hole once more
