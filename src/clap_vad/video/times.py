"""Presentation times of frames: repaired time stamps that never run backwards, and sampling at an even rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

from ..errors import ClapError

__all__ = ["LONGEST_HOLE", "Repairs", "at_rate", "check_rate", "steady"]

T = TypeVar("T")

LONGEST_HOLE = 86400.0
"""Seconds; a larger jump in a file means joined recordings or a clock change."""

_HOLE = 10.0  # seconds; longer times without a frame are gaps, which are not filled
_NEAR = 3.0  # a step of at most this many usual steps is accepted without check
_CONFIRMED = 4  # frames that must continue from a large jump before it is accepted
_MOST_HELD = 24  # most frames that wait for their time; after that their time stamps are ignored
_MOST_FALSE = 8  # most consecutive false time stamps that continue from each other like a jump
_RECENT = 15  # number of recent steps whose median is the usual step


def check_rate(rate: float | None) -> None:
    """Raise :class:`ClapError` unless the rate is 0.1 to 240 frames per second or None."""
    if rate is not None and not 0.1 <= rate <= 240:
        raise ClapError(f"rate is {rate}; give 0.1 to 240 pictures per second")


@dataclass
class Repairs:
    """Faults of a video's time stamps, found and repaired so far.

    Attributes:
        false: number of time stamps far from both neighbours.
        jumps: number of times that the time stamps continued from another value; no time is counted for it.
    """

    false: int = 0
    jumps: int = 0

    def summary(self) -> str | None:
        """A sentence about the faults; None if there are none."""
        parts = []
        if self.false:
            parts.append(f"{self.false} time stamp{'s' * (self.false != 1)} far from the neighbours, ignored")
        if self.jumps:
            parts.append(f"time stamps restart {self.jumps} time{'s' * (self.jumps != 1)}, joined without a gap")
        return "; ".join(parts) or None


@dataclass(frozen=True)
class _Held(Generic[T]):
    stamp: float | None
    arrived: float | None
    item: T


def steady(
    items: Iterable[tuple[float | None, float | None, T]],
    step: float,
    repairs: Repairs | None = None,
    longest: float = LONGEST_HOLE,
) -> Iterator[tuple[float, T]]:
    """Convert the time stamps of files and cameras to seconds since the first item.

    - A missing time stamp counts as one usual step after the one before.
    - A time stamp far from both neighbours (usually by hours) is false: the frame is shown between them.
    - If all further time stamps continue from another value (joined recordings, a wrapped counter, a clock change),
      they continue one step after the last.
    - A step forward of up to ``longest`` is a gap without frames; for a stream, only as long as the frames also arrived
      later.

    An item with a doubtful time waits until the following items decide it.

    Args:
        items: (time stamp in seconds or None, arrival time by a monotonic clock or None, item).
        step: initial estimate of the seconds between two items.
        repairs: faults are counted here.
        longest: longest accepted gap in seconds.

    Yields:
        (seconds, item); seconds start at 0 and never decrease.

    >>> stamps = (5.0, 5.1, None, 5.3, 37000.0, 5.5, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    >>> [round(seconds, 3) for seconds, _ in steady(((stamp, None, "") for stamp in stamps), 0.1)]
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]
    """
    repair: _Steady[T] = _Steady(step, Repairs() if repairs is None else repairs, longest)
    for stamp, arrived, item in items:
        yield from repair.take(_Held(stamp, arrived, item))
    yield from repair.finish()


class _Steady(Generic[T]):
    """State of :func:`steady`: the last item with a known time, and the items that wait for theirs."""

    def __init__(self, step: float, repairs: Repairs, longest: float) -> None:
        self._repairs, self._longest = repairs, longest
        self._steps = deque([step], _RECENT)
        self._usual = step
        self._count = 0
        self._stamp = self._seconds = 0.0  # of the last item with a known time
        self._offset = 0.0  # seconds minus time stamp
        self._before: tuple[int, float, float] | None = None  # the last jump: item, time stamp and offset before it
        self._arrived: float | None = None
        self._held: list[_Held[T]] = []

    def take(self, item: _Held[T]) -> Iterator[tuple[float, T]]:
        """Add an item; yield the items whose times are now known."""
        held, stamp = self._held, item.stamp
        if not self._count:
            self._offset = -(stamp or 0.0)
            yield self._give(item, 0.0, stamp or 0.0)
        elif stamp is None and not held:
            yield self._one_on(item)
        elif stamp is None:
            held.append(item)
        elif 0 <= stamp - self._stamp <= _NEAR * self._usual * (len(held) + 1):
            at = stamp + self._offset
            yield from self._between(stamp, at)
            yield self._give(item, at, stamp)
        else:
            held.append(item)
            yield from self._settle(item, stamp)

    def finish(self) -> Iterator[tuple[float, T]]:
        """Yield the items that still wait; an unconfirmed jump at the end is ignored."""
        while self._held:
            item, stamp = self._held[0], self._held[0].stamp
            followed = len(self._held) > 1 and self._follows(item, self._held[1])
            jump = 0.0 if stamp is None else stamp - self._stamp
            del self._held[0]
            if stamp is not None and 0 <= jump <= (self._longest if followed else self._small):
                yield self._give(item, stamp + self._offset, stamp)
            elif stamp is not None and followed:
                self._repairs.jumps += 1
                self._offset = self._seconds + self._usual - stamp
                yield self._give(item, self._seconds + self._usual, stamp)
            else:
                self._repairs.false += stamp is not None
                yield self._one_on(item)

    @property
    def _small(self) -> float:
        """Largest jump in seconds that one following frame confirms."""
        return max(_HOLE, _NEAR * self._usual)

    def _settle(self, item: _Held[T], stamp: float) -> Iterator[tuple[float, T]]:
        """Yield the waiting items if enough of them continue from the same jump; ``item`` is the last of them."""
        held = self._held
        first = len(held) - 1
        while first > 0 and self._follows(held[first - 1], held[first]):
            first -= 1
        start = held[first]
        assert start.stamp is not None  # an item without a time stamp cannot start a jump
        jump, later = start.stamp - self._stamp, self._later(start)
        offset = self._offset_before(start.stamp, first)
        if offset is not None:
            passed, needed = start.stamp + offset - self._seconds, 1
        elif 0 < jump <= self._small + (later or 0.0):
            passed, needed = jump, 0 if later is not None and jump <= 2 * later else 1
        else:
            needed = _CONFIRMED
            hole = later is None and 0 < jump <= self._longest and self._count > _CONFIRMED
            passed = jump if hole else max(later or 0.0, self._usual * (first + 1))
        if len(held) - first > needed:
            if offset is None:
                self._repairs.jumps += passed != jump
                self._before = self._count, self._stamp, self._offset
                offset = self._offset if passed == jump else self._seconds + passed - start.stamp
            else:  # not a jump but a few false time stamps
                self._repairs.false += self._count - self._before[0] if self._before else 0
                self._before = None
            chain = held[first:]
            del held[first:]
            at = max(self._seconds, start.stamp + offset)
            yield from self._between(start.stamp, at)
            self._offset = offset
            yield self._give(start, at, start.stamp)
            for following in chain[1:]:
                yield from self.take(following)
        elif len(held) > _MOST_HELD:  # the time stamps are unusable
            self._repairs.false += len(held)
            while held:
                yield self._one_on(held.pop(0))
            self._stamp, self._offset = stamp, self._seconds - stamp

    def _offset_before(self, stamp: float, passed: int) -> float | None:
        """The offset before the last jump if ``stamp`` continues from there, ``passed`` waiting items later."""
        if self._before is None:
            return None
        count, before, offset = self._before
        since = self._count - count + passed + 1
        astray = abs(stamp - before - since * self._usual)
        return offset if since <= _MOST_FALSE and astray <= self._usual * (_NEAR + since / _NEAR) else None

    def _between(self, stamp: float, at: float) -> Iterator[tuple[float, T]]:
        """Yield all waiting items before an item at ``at`` seconds, with their own time stamps if these fit between."""
        while self._held:
            own, left = self._held[0].stamp, len(self._held)
            item = self._held.pop(0)
            if own is not None and self._stamp <= own <= stamp and own + self._offset <= at:
                yield self._give(item, own + self._offset, own)
            else:
                self._repairs.false += own is not None
                share = max(0.0, min(self._usual, (at - self._seconds) / (left + 1)))
                yield self._give(item, self._seconds + share, self._stamp + share)

    def _follows(self, before: _Held[T], item: _Held[T]) -> bool:
        return before.stamp is not None and item.stamp is not None and 0 <= item.stamp - before.stamp <= self._small

    def _later(self, item: _Held[T]) -> float | None:
        """Seconds from the arrival of the last item with a known time to that of ``item``; None if unknown."""
        return None if item.arrived is None or self._arrived is None else max(0.0, item.arrived - self._arrived)

    def _one_on(self, item: _Held[T]) -> tuple[float, T]:
        return self._give(item, self._seconds + self._usual, self._stamp + self._usual)

    def _give(self, item: _Held[T], seconds: float, stamp: float) -> tuple[float, T]:
        if self._count and seconds > self._seconds:
            self._steps.append(seconds - self._seconds)
            self._usual = median(self._steps)
        self._seconds, self._stamp, self._arrived = max(seconds, self._seconds), stamp, item.arrived
        self._count += 1
        return self._seconds, item.item


def at_rate(pictures: Iterable[tuple[float, T]], rate: float, longest: float = _HOLE) -> Iterator[tuple[float, T]]:
    """Sample frames at an even rate: at each time, the last frame that is at most half a step later.

    Jitter of less than half a step drops and repeats no frame. A frame is repeated until the next one, for up to
    ``longest`` seconds; a longer gap stays empty.

    Args:
        pictures: (seconds, picture) with seconds that do not decrease.
        rate: output frames per second.
        longest: longest gap in seconds that is filled.

    Yields:
        (seconds, picture), 1 / rate apart except at gaps.

    >>> thirty = [(k / 30, k) for k in range(7)]
    >>> [picture for _, picture in at_rate(thirty, 15.0)]
    [0, 2, 4, 6]
    """
    base, count, held_at = 0.0, 0, 0.0
    held: T | None = None
    for seconds, picture in pictures:
        if held is None:
            base = seconds
        elif seconds - held_at > longest:
            yield base + count / rate, held
            base, count = seconds, 0
        else:
            while base + (count + 0.5) / rate <= seconds:
                yield base + count / rate, held
                count += 1
        held, held_at = picture, seconds
    if held is not None:
        yield base + count / rate, held
