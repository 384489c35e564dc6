"""The desk of a watch: what is seen is written down here, passed on, and counted."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np

from ..core.events.ongoing import Change
from ..video.live import Connected, Lost
from .backoff import Backoff
from .journal import Journal, Watch
from .moments import Moments
from .page import PageKeeper
from .telling import Telling
from .timeline import Timeline
from .watching import ScoredSegment

__all__ = ["Desk"]

_SIGN_OF_LIFE = 10.0
_LATENCIES = 10_000  # newest that the summary tells of


class Desk:
    """Takes each thing that happens to where it belongs; nothing here stops a watch.

    Args:
        about, journal, telling: of the watch.
        backoff: hears when a connection works.
        page: is asked for when there is something new.
        moments: names them.
    """

    def __init__(
        self, about: Watch, journal: Journal, telling: Telling, backoff: Backoff, page: PageKeeper, moments: Moments
    ) -> None:
        self.by_the_wall = about.clock == "wall"
        self._journal, self._telling, self._moments = journal, telling, moments
        self._backoff, self._page = backoff, page
        self._timeline = Timeline()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._worst = 0.0
        self._events = self._segments = self._frames = self._dropped = self._unscored = self._outages = 0
        self._seconds = 0.0
        self._lost_at: float | None = None
        self._lost_named = 0.0
        self._reason = ""
        self._alive = 0.0
        self.last = ""

    def connected(self, item: Connected) -> None:
        """Pictures come: an outage, if there was one, is over."""
        self._backoff.succeeded(time.monotonic())
        if self._lost_at is not None:
            self._outage(max(item.seconds, self._lost_at))
            self._lost_at = None

    def lost(self, item: Lost) -> None:
        """No pictures come; told again for each try that fails."""
        if self._lost_at is None:
            self._lost_at, self._lost_named = item.seconds, item.seconds + self._moments.offset
            self._outages += 1
        self._reason = item.reason
        self._outage(None)

    def _outage(self, until: float | None) -> None:
        """Write down the outage that began when the connection was lost."""
        lost = self._lost_at or 0.0
        stop = None if until is None else self._lost_named + until - lost
        self._journal.outage(self._outages - 1, self._lost_named, stop, self._reason)

    def dropped(self, count: int) -> None:
        """So many pictures were dropped."""
        self._dropped += count
        self._timeline.drop(count)

    def scored(self, segment: ScoredSegment) -> None:
        """A segment has its score."""
        self._segments += 1
        self._frames += segment.frames
        self._seconds += segment.stop - segment.start
        self._latencies.append(segment.latency)
        self._worst = max(self._worst, segment.latency)
        if not np.isfinite(segment.score):
            self._unscored += 1
            return
        self.last = f"score {segment.score:.3f}, {self._events} events, {1000 * segment.latency:.0f} ms behind"
        named = self._moments.offset
        row = self._timeline.add(
            segment.start + named, segment.stop + named, segment.score, segment.frames, segment.latency
        )
        if row is not None:
            self._journal.timeline(row)

    def changed(self, changes: list[Change]) -> None:
        """Events have opened, risen or closed."""
        for change in changes:
            self._events += change.kind == "opened"
            self._telling.tell(change)
            if change.kind == "closed":
                self._page.wanted()

    def alive(self) -> None:
        """To be called often: the machine's clock is followed, and every ten seconds a sign of life is written."""
        self._moments.look()
        now = time.monotonic()
        if now - self._alive >= _SIGN_OF_LIFE:
            self._alive = now
            self._journal.alive(time.time())
            self._page.wanted()

    def close(self) -> None:
        """Write down what is left."""
        row = self._timeline.finish()
        if row is not None:
            self._journal.timeline(row)

    def summary(self) -> dict[str, Any]:
        """What was seen, fit for JSON."""
        known = np.array(self._latencies)
        half, most = np.quantile(known, (0.5, 0.95)).tolist() if len(known) else (None, None)
        return {
            "events": self._events,
            "segments": self._segments,
            "frames": self._frames,
            "dropped_frames": self._dropped,
            "unscored_segments": self._unscored,
            "outages": self._outages,
            "seconds": self._seconds,
            "latency": {"p50": half, "p95": most, "max": self._worst} if len(known) else None,
        }
