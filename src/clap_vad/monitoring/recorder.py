"""The watch recorder: counts a stream's segments, events and outages and passes them to the sinks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..core.events.ongoing import Change
from ..video.live_items import Connected, Dropped, Item, Lost
from .clock import WallClock
from .notifier import EventNotifier
from .segments import ScoredSegment
from .sink import Outage, Sinks
from .timeline import Timeline, TimelineRow

__all__ = ["WatchRecorder"]

_SIGN_OF_LIFE = 10.0
_LATENCIES = 10_000  # newest ones, used for the summary


class WatchRecorder:
    """Records each change; no error here stops a session.

    Args:
        sinks: of the session.
        clock: of the session.

    Attributes:
        connected: whether pictures come.
        segments: number of segments so far.
        note: a few words about the newest segment.
    """

    def __init__(self, sinks: Sinks, clock: WallClock) -> None:
        self._sinks, self._clock = sinks, clock
        self._notifier = EventNotifier(sinks, clock)
        self._timeline = Timeline()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._worst = 0.0
        self._events = self._frames = self._dropped = self._unscored = self._outages = 0
        self._seconds = 0.0
        self._lost_at: float | None = None
        self._lost_named = 0.0
        self._reason = ""
        self._alive = 0.0
        self.connected = False
        self.segments = 0
        self.note = ""

    def happened(self, item: Item) -> None:
        """Record an item of the stream."""
        match item:
            case Connected():
                self._found(item)
            case Lost():
                self._lost(item)
            case Dropped():
                self._dropped += item.count
                self._timeline.drop(item.count)

    def scored(self, segment: ScoredSegment) -> None:
        """Record a scored segment."""
        self.segments += 1
        self._frames += segment.frames
        self._seconds += segment.stop - segment.start
        self._latencies.append(segment.latency)
        self._worst = max(self._worst, segment.latency)
        if not segment.scored:
            self._unscored += 1
            return
        self.note = f"score {segment.score:.3f}, {self._events} events, {1000 * segment.latency:.0f} ms behind"
        offset = self._clock.offset
        self._row(
            self._timeline.add(
                segment.start + offset, segment.stop + offset, segment.score, segment.frames, segment.latency
            )
        )

    def changed(self, changes: Iterable[Change]) -> None:
        """Pass on events that have opened, have a higher peak or are closed."""
        for change in changes:
            self._events += change.kind == "opened"
            self._notifier.notify(change)

    def alive(self) -> None:
        """Call this often: follows the machine's clock, and sends a sign of life to the sinks every ten seconds."""
        self._clock.follow()
        now = time.monotonic()
        if now - self._alive >= _SIGN_OF_LIFE:
            self._alive = now
            wall = time.time()
            self._sinks.each(lambda sink: sink.alive(wall))

    def close(self) -> None:
        """Pass on what is left."""
        self._row(self._timeline.finish())

    def summary(self) -> dict[str, Any]:
        """The summary, fit for JSON."""
        known = np.array(self._latencies.copy())
        half, most = np.quantile(known, (0.5, 0.95)).tolist() if len(known) else (None, None)
        return {
            "events": self._events,
            "segments": self.segments,
            "frames": self._frames,
            "dropped_frames": self._dropped,
            "unscored_segments": self._unscored,
            "outages": self._outages,
            "seconds": self._seconds,
            "latency": {"p50": half, "p95": most, "max": self._worst} if len(known) else None,
        }

    def _found(self, item: Connected) -> None:
        """Pictures arrive: end the outage, if there was one."""
        self.connected = True
        if self._lost_at is not None:
            self._outage(max(item.seconds, self._lost_at))
            self._lost_at = None

    def _lost(self, item: Lost) -> None:
        """No pictures arrive; called again for each failed try."""
        self.connected = False
        if self._lost_at is None:
            self._lost_at, self._lost_named = item.seconds, item.seconds + self._clock.offset
            self._outages += 1
        self._reason = item.reason
        self._outage(None)

    def _outage(self, until: float | None) -> None:
        """Pass on the outage that began when the connection was lost."""
        lost = self._lost_at or 0.0
        stop = None if until is None else self._lost_named + until - lost
        outage = Outage(self._outages - 1, self._lost_named, stop, self._reason)
        self._sinks.each(lambda sink: sink.outage(outage))

    def _row(self, row: TimelineRow | None) -> None:
        if row is not None:
            self._sinks.each(lambda sink: sink.timeline(row))
