"""Events while they happen: the rule of :func:`~clap_vad.core.events.detection.find_events`, segment by segment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import ClapError
from .policy import EventPolicy
from .regions import Region

__all__ = ["Change", "OngoingEvent", "OngoingEvents"]

_ROUNDING = 1e-6  # seconds; a double resolves a Unix time to a quarter of that


@dataclass(frozen=True)
class OngoingEvent:
    """An event so far.

    Attributes:
        number: 0, 1, ... in the order in which they were reported.
        start, stop: seconds on the stream's clock, of its first high segment and its last one so far.
        peak: middle of its highest segment so far (the first one on ties).
        score: of that segment.
        region: where in the picture that segment was high; None where it is not known.
    """

    number: int
    start: float
    stop: float
    peak: float
    score: float
    region: Region | None = None


@dataclass(frozen=True)
class Change:
    """A change to report: an event opened, has a higher peak than reported, or closed."""

    kind: Literal["opened", "peak", "closed"]
    event: OngoingEvent


class OngoingEvents:
    """Reports events of a stream, segment by segment.

    For a stream without holes the closed events are those that ``find_events`` finds in all of its scores: a segment is
    high if ``score >= threshold``, high segments at most ``max_gap`` seconds apart are one event, and an event shorter
    than ``min_length`` is never reported. An event is reported as soon as it is that long. It is closed when more than
    ``max_gap`` seconds pass without a high segment (a hole in the stream counts) or when the stream ends.

    A stuck or moved camera would cause an endless event: an event is closed before it becomes longer than
    ``max_length`` seconds, and the next high segment begins another one.

    Args:
        policy: its threshold, gap and lengths.

    >>> events = OngoingEvents(EventPolicy(threshold=0.5, max_gap=1, min_length=2))
    >>> for second, score in enumerate([0.6, 0.9, 0.1, 0.7, 0.1, 0.1]):
    ...     for change in events.add(second, second + 1, score):
    ...         print(second, change.kind, change.event.start, change.event.stop, change.event.score)
    1 opened 0 2 0.9
    5 closed 0 4 0.9
    """

    def __init__(self, policy: EventPolicy) -> None:
        self._policy = policy
        self._reported = 0
        self._event: OngoingEvent | None = None  # its number is -1 until it is reported
        self._seen = -math.inf  # stop of the last segment
        self._high = False  # whether the last segment was high

    @property
    def current(self) -> OngoingEvent | None:
        """The open event, if it has been reported."""
        return None if self._event is None or self._event.number < 0 else self._event

    def add(self, start: float, stop: float, score: float, region: Region | None = None) -> list[Change]:
        """Add the next segment [start, stop) and return the changes, in order.

        Raises:
            ClapError: a score that is not finite, or a segment that starts before the end of the last one.
        """
        if not math.isfinite(score):
            raise ClapError(f"segment at {start} s: its score is not a finite number; check the model and the features")
        if not (start >= self._seen - _ROUNDING and start < stop < math.inf):
            raise ClapError(f"segment from {start} to {stop} s: starts before the last segment ends at {self._seen} s")
        self._seen, self._high = stop, score >= self._policy.threshold
        if not self._high:
            return self.pass_until(stop)
        changes = self.pass_until(start)
        if self._event is not None and stop - self._event.start > self._policy.max_length + _ROUNDING:
            changes += self._close()
        middle = (start + stop) / 2
        if self._event is None:
            self._event = OngoingEvent(-1, start, stop, middle, score, region)
            return changes + self._report()
        higher = score > self._event.score
        self._event = replace(self._event, stop=stop)
        if higher:
            self._event = replace(self._event, peak=middle, score=score, region=region)
            if self._event.number >= 0:
                changes.append(Change("peak", self._event))
        return changes + self._report()

    def pass_until(self, now: float) -> list[Change]:
        """The changes at the time ``now`` on the stream's clock if no segment has arrived."""
        if self._event is None or now - self._event.stop <= self._policy.max_gap + _ROUNDING:
            return []
        return self._close()

    def finish(self, stop: float | None = None) -> list[Change]:
        """The changes at the end of the stream.

        Args:
            stop: end of the stream, if frames too few for a segment followed the last one: an event that includes the
                last segment lasts to the end.
        """
        changes: list[Change] = []
        if self._event is not None and self._high and stop is not None:
            self._event = replace(self._event, stop=max(stop, self._event.stop))
            changes = self._report()
        return changes + self._close()

    def _report(self) -> list[Change]:
        event = self._event
        if event is None or event.number >= 0 or event.stop - event.start < self._policy.min_length - _ROUNDING:
            return []
        self._event = replace(event, number=self._reported)
        self._reported += 1
        return [Change("opened", self._event)]

    def _close(self) -> list[Change]:
        event, self._event = self.current, None
        return [] if event is None else [Change("closed", event)]
