"""Names for moments: the wall clock says when something was, and never how long."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Moments"]

_SET = 1.0  # seconds by which a clock differs from one moment to the next where it was set; less is kept in step


class Moments:
    """From readings of a clock that is never set to seconds since 1970, by the machine's clock as it stands now.

    Args:
        tell: hears a sentence when the machine's clock was set.
        wall, monotonic: the two clocks; of a file, whose seconds need no names, both stand still.

    Attributes:
        offset: seconds from a reading to its name.

    >>> clocks = {"wall": 1000.0, "monotonic": 10.0}
    >>> moments = Moments(print, lambda: clocks["wall"], lambda: clocks["monotonic"])
    >>> clocks.update(wall=945.0, monotonic=15.0)
    >>> moments.look()
    the clock of this machine was set back by 60 s; lengths are measured by another clock
    >>> 12.0 + moments.offset
    942.0
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        wall: Callable[[], float] = lambda: time.time(),
        monotonic: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self._tell, self._wall, self._monotonic = tell, wall, monotonic
        self.offset = wall() - monotonic()

    def look(self) -> None:
        """Follow the machine's clock; to be called often."""
        offset = self._wall() - self._monotonic()
        step, self.offset = offset - self.offset, offset
        if abs(step) > _SET:
            way = "back" if step < 0 else "forward"
            self._tell(
                f"the clock of this machine was set {way} by {abs(step):.0f} s; lengths are measured by another clock"
            )
