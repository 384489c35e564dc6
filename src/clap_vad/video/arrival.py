"""The time at which a live picture was taken, on a clock of this machine that is never set."""

from __future__ import annotations

import math

__all__ = ["ArrivalTime"]

_WINDOW = 300.0  # seconds within which a picture without delay is expected


class ArrivalTime:
    """Estimated from a stream's time stamps, which are even, and its pictures' arrival times, which are correct.

    A picture cannot have been taken after it arrived, and the least delayed picture of the last minutes is assumed to
    have no delay. So bursts and pauses of the network have no effect, and a fast or slow camera clock causes no drift.
    Times never decrease.

    >>> taken = ArrivalTime()
    >>> [taken(stamp, arrived) for stamp, arrived in ((0.0, 101.0), (1.0, 101.0), (2.0, 102.5))]
    [101.0, 101.0, 102.0]
    """

    def __init__(self) -> None:
        self._offset = self._least = math.inf
        self._since = -math.inf
        self._last = -math.inf

    def settle(self, stamps: list[float], arrivals: list[float]) -> None:
        """Add the first pictures before asking for their times: they often come in a burst."""
        for stamp, arrived in zip(stamps, arrivals, strict=True):
            self._observe(stamp, arrived)

    def __call__(self, stamp: float, arrived: float) -> float:
        """When the picture with this time stamp (seconds, not decreasing) was taken, from its arrival time."""
        self._observe(stamp, arrived)
        self._last = max(self._last, stamp + self._offset)
        return self._last

    def _observe(self, stamp: float, arrived: float) -> None:
        self._least = min(self._least, arrived - stamp)
        self._offset = min(self._offset, self._least)
        if self._since == -math.inf:
            self._since = arrived
        elif arrived - self._since > _WINDOW:
            self._offset, self._least, self._since = self._least, math.inf, arrived
