"""When pictures are shown: seconds that never run backwards, and pictures taken evenly from uneven ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ..core.events import ASSUMED_FPS
from ..errors import ClapError

__all__ = ["Clock", "at_rate", "check_rate"]

T = TypeVar("T")

_RESTART = 1.0  # seconds backwards after which time stamps count as begun anew
_HOLE = 10.0  # seconds without a picture that are no long exposure but a hole, which is not filled


def check_rate(rate: float | None) -> None:
    """Raise :class:`ClapError` for a rate that is not from 0.1 to 240 pictures a second (None: as they come)."""
    if rate is not None and not 0.1 <= rate <= 240:
        raise ClapError(f"rate is {rate}; 0.1 to 240 pictures a second are needed")


class Clock:
    """Seconds since the first picture, from the time stamps that a file holds.

    A stamp that is missing counts as one picture after the one before. Stamps that jump back (joined recordings, a
    camera whose clock was set) go on from where they were; smaller steps back count as no time at all.

    Args:
        fps: pictures a second by which missing stamps are filled; None for 25.

    >>> clock = Clock(10.0)
    >>> [round(clock(stamp), 3) for stamp in (5.0, 5.1, None, 5.25, 0.0, 0.1)]
    [0.0, 0.1, 0.2, 0.25, 0.35, 0.45]
    """

    def __init__(self, fps: float | None) -> None:
        self._step = 1 / (fps or ASSUMED_FPS)
        self._offset = 0.0
        self._last: float | None = None

    def __call__(self, stamp: float | None) -> float:
        """The time of the next picture, given its stamp in seconds."""
        if self._last is None:
            self._offset, self._last = -(stamp or 0.0), 0.0
            return 0.0
        seconds = self._last + self._step if stamp is None else stamp + self._offset
        if seconds < self._last - _RESTART and stamp is not None:
            seconds = self._last + self._step
            self._offset = seconds - stamp
        self._last = max(seconds, self._last)
        return self._last


def at_rate(pictures: Iterable[tuple[float, T]], rate: float) -> Iterator[tuple[float, T]]:
    """Pictures at even times: at each, the last one that is not later by more than half a step.

    Jitter of less than half a step drops and repeats nothing. A picture stands for as long as none follows, up to ten
    seconds; a longer hole is left open and the times go on behind it.

    Args:
        pictures: (seconds, picture) with seconds that do not fall.
        rate: pictures a second to give out.

    Yields:
        (seconds, picture), 1 / rate apart but for holes.

    >>> thirty = [(k / 30, k) for k in range(7)]
    >>> [picture for _, picture in at_rate(thirty, 15.0)]
    [0, 2, 4, 6]
    """
    base, count, held_at = 0.0, 0, 0.0
    held: T | None = None
    for seconds, picture in pictures:
        if held is None:
            base = seconds
        elif seconds - held_at > _HOLE:
            yield base + count / rate, held
            base, count = seconds, 0
        else:
            while base + (count + 0.5) / rate <= seconds:
                yield base + count / rate, held
                count += 1
        held, held_at = picture, seconds
    if held is not None:
        yield base + count / rate, held
