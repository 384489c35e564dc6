"""The wall clock gives times of events, never durations."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["WallClock"]

_SET = 1.0  # seconds; a larger change between readings means that the machine's clock was set


class WallClock:
    """Converts readings of a clock that is never set to seconds since 1970, by the machine's present clock.

    Args:
        report: called with a message when the machine's clock was set.
        wall, monotonic: the two clocks.

    Attributes:
        offset: seconds to add to a reading.

    >>> clocks = {"wall": 1000.0, "monotonic": 10.0}
    >>> clock = WallClock(print, lambda: clocks["wall"], lambda: clocks["monotonic"])
    >>> clocks.update(wall=945.0, monotonic=15.0)
    >>> clock.follow()
    the clock of this machine was set back by 60 s; lengths are measured by another clock
    >>> 12.0 + clock.offset
    942.0
    """

    def __init__(
        self,
        report: Callable[[str], None],
        wall: Callable[[], float] = lambda: time.time(),
        monotonic: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self._report, self._wall, self._monotonic = report, wall, monotonic
        self.offset = wall() - monotonic()

    @classmethod
    def of_file(cls, report: Callable[[str], None]) -> WallClock:
        """For a file, whose times are seconds from its start and stay as they are."""
        return cls(report, float, float)

    def follow(self) -> None:
        """Follow the machine's clock; to be called often."""
        offset = self._wall() - self._monotonic()
        step, self.offset = offset - self.offset, offset
        if abs(step) > _SET:
            way = "back" if step < 0 else "forward"
            self._report(
                f"the clock of this machine was set {way} by {abs(step):.0f} s; lengths are measured by another clock"
            )
