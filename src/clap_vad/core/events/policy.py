"""The event policy: which segment scores make an event or an alarm, stated once for files, streams and alarm rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ClapError

__all__ = ["EventPolicy", "check_seconds"]


@dataclass(frozen=True, kw_only=True)
class EventPolicy:
    """When a video's segment scores make an event (``clap score``, ``clap watch``) or an alarm (``clap alarms``).

    Attributes:
        threshold: a segment is high if ``score >= threshold``.
        max_gap: seconds; events at most this far apart are one event.
        min_length: seconds; shorter events are dropped.
        max_length: seconds; an event of a stream is closed before it becomes longer, and the next high segment begins
            another one. Events of files are not split.
        hold: seconds for which an alarm stays active after its last high segment.

    Raises:
        ClapError: a number out of range.

    >>> EventPolicy(threshold=0.5)
    EventPolicy(threshold=0.5, max_gap=2.0, min_length=0.5, max_length=600.0, hold=10.0)
    """

    threshold: float
    max_gap: float = 2.0
    min_length: float = 0.5
    max_length: float = 600.0
    hold: float = 10.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise ClapError(f"threshold: {self.threshold} is not a finite number; give a score between 0 and 1")
        for name in ("max_gap", "min_length", "hold"):
            check_seconds(name, getattr(self, name))
        if not self.max_length > 0 or self.max_length < self.min_length:
            raise ClapError(
                f"max_length: {self.max_length}; give more than 0 seconds and at least min_length ({self.min_length})"
            )


def check_seconds(name: str, seconds: float) -> None:
    """Raise :class:`ClapError` for a length that is negative or not finite."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ClapError(f"{name}: {seconds}; give a number of seconds, 0 or more")
