"""When a live picture was taken, by a clock of this machine that is never set."""

from __future__ import annotations

import math

__all__ = ["ArrivalTime"]

_WINDOW = 300.0  # seconds in which a picture without delay is sure to come


class ArrivalTime:
    """From the time stamps of a stream, which are even, and the times at which its pictures arrive, which are right.

    A picture cannot have been taken after it arrived, and the least delayed one of the last minutes is taken to have
    had no delay. So bursts and hesitations of the network do not show, and a clock of a camera that is fast or slow
    does not lead away. Times never run backwards.

    >>> taken = ArrivalTime()
    >>> [taken(stamp, arrived) for stamp, arrived in ((0.0, 101.0), (1.0, 101.0), (2.0, 102.5))]
    [101.0, 101.0, 102.0]
    """

    def __init__(self) -> None:
        self._offset = self._least = math.inf
        self._since = -math.inf
        self._last = -math.inf

    def settle(self, stamps: list[float], arrivals: list[float]) -> None:
        """Take the first pictures into account before their times are asked for: they often come in a burst."""
        for stamp, arrived in zip(stamps, arrivals, strict=True):
            self._observe(stamp, arrived)

    def __call__(self, stamp: float, arrived: float) -> float:
        """When the picture with this stamp (seconds, not falling) was taken, given when it arrived."""
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
