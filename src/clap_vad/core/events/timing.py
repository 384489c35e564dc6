"""Times of a video's frames, shared by scores, events, curves, pages and clips."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["FrameTimes", "TimesBuilder", "believed_fps", "hole_after", "usual_step"]

_APART = 8  # pictures per measured step: this divides jitter and rounding by eight
_SPREAD = 0.25  # steps within this fraction of the median are averaged; others are holes or faults
_AGREE = 0.1  # largest relative difference between stated and measured rate that rounding and jitter explain
_HOLE = 1.0  # seconds and
_HOLE_STEPS = 3.0  # usual steps without a picture make a hole, during which the scene is unknown
_UNEVEN = 0.5  # frames; largest offset between a frame's time and frame / fps


def usual_step(stamps: Sequence[float]) -> float | None:
    """Seconds from one picture to the next, robust to jitter, holes and wrong timestamps.

    Args:
        stamps: times of the pictures in seconds, in order.

    Returns:
        The mean of the steps near their median, each measured over eight pictures; None if there are fewer than four
        stamps or they do not advance.

    >>> usual_step([0.0, 0.2, 0.4, 0.6, 37000.0, 1.0, 1.2, 1.4, 61.6, 61.8, 62.0, 62.2, 62.4])
    0.2
    """
    times = np.asarray(stamps, dtype=np.float64)
    if len(times) < 4:
        return None
    apart = min(_APART, max(1, len(times) // 4))
    steps = (times[apart:] - times[:-apart]) / apart
    middle = float(np.median(steps))
    if not middle > 0:
        return None
    return round(float(steps[np.abs(steps - middle) <= _SPREAD * middle].mean()), 9)


def believed_fps(stamps: Sequence[float], stated: float | None) -> float | None:
    """Pictures per second: the stated rate if the timestamps agree or are too few, otherwise the measured rate.

    >>> even = [k / 5 for k in range(20)]
    >>> believed_fps(even, 25.0), believed_fps(even, 5.2), believed_fps([], 25.0)
    (5.0, 5.2, 25.0)
    """
    step = usual_step(stamps)
    if step is None or (stated is not None and abs(step * stated - 1) <= _AGREE):
        return stated
    return round(1 / step, 6)


def hole_after(step: float) -> float:
    """Seconds between two pictures above which there is a hole, if ``step`` is the usual step."""
    return max(_HOLE, _HOLE_STEPS * step)


@dataclass(frozen=True)
class FrameTimes:
    """Frame number -> seconds since the first frame: linear between marks, with jumps at holes.

    Attributes:
        at: frames at which marks lie, ascending from 0, (n,) int64.
        begins: start times of these frames in seconds, (n,).
        ends: end times of the frames before them in seconds, (n,); ``begins - ends`` is the length of the hole between.
        frames: number of frames.
        seconds: end time of the last frame.

    >>> times = FrameTimes(np.array([0, 4]), np.array([0.0, 60.0]), np.array([0.0, 4.0]), 6, 62.0)
    >>> times.start([1, 4, 5]).tolist(), times.stop([4, 5, 6]).tolist(), times.frame([0.5, 30.0, 61.0]).tolist()
    ([1.0, 60.0, 61.0], [4.0, 61.0, 62.0], [0, 3, 5])
    """

    at: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    frames: int
    seconds: float

    @classmethod
    def even(cls, frames: int, fps: float) -> FrameTimes:
        """Evenly spaced frames, ``fps`` per second."""
        zero = np.zeros(1)
        return cls(zero.astype(np.int64), zero, zero, frames, frames / fps)

    def start(self, frames: ArrayLike) -> np.ndarray:
        """Start times in seconds of frames (0 to ``frames``), float64 of the same shape."""
        wanted = np.asarray(frames, dtype=np.int64)
        mark = np.clip(np.searchsorted(self.at, wanted, side="right") - 1, 0, None)
        return self._within(wanted, mark)

    def stop(self, frames: ArrayLike) -> np.ndarray:
        """End times in seconds of the frames before these (1 to ``frames``): before the hole, if one follows."""
        wanted = np.asarray(frames, dtype=np.int64)
        mark = np.clip(np.searchsorted(self.at, wanted, side="left") - 1, 0, None)
        return self._within(wanted, mark)

    def frame(self, seconds: ArrayLike) -> np.ndarray:
        """The frame shown at a time, int64; within a hole, the frame before it."""
        wanted = np.asarray(seconds, dtype=np.float64)
        mark = np.clip(np.searchsorted(self.begins, wanted, side="right") - 1, 0, None)
        after, until = self._piece(mark)
        share = np.clip((wanted - self.begins[mark]) / np.maximum(until - self.begins[mark], 1e-12), 0, 1)
        width = after - self.at[mark]
        found = self.at[mark] + np.minimum(np.floor(share * width + 1e-9), np.maximum(width - 1, 0))
        return np.minimum(found, max(self.frames - 1, 0)).astype(np.int64)

    def holes(self, longer_than: float) -> np.ndarray:
        """Frames that follow a hole longer than this many seconds, int64."""
        return self.at[self.begins - self.ends > longer_than]

    def _piece(self, mark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frame and time at which the piece after each mark ends."""
        following = np.append(self.at[1:], max(self.frames, int(self.at[-1])))
        return following[mark], np.append(self.ends[1:], self.seconds)[mark]

    def _within(self, wanted: np.ndarray, mark: np.ndarray) -> np.ndarray:
        after, until = self._piece(mark)
        # multiply before dividing, so that even times equal frame / fps exactly
        passed = (wanted - self.at[mark]) * (until - self.begins[mark])
        return self.begins[mark] + passed / np.maximum(after - self.at[mark], 1)


class TimesBuilder:
    """Collects the time of each frame; memory grows with segments and holes, not with frames.

    Args:
        fps: frames per second.
        every: frames between two marks.
    """

    def __init__(self, fps: float, every: int) -> None:
        self._step, self._every = 1 / fps, every
        self._fps = fps
        self._at, self._begins, self._ends = array("q"), array("d"), array("d")
        self._count, self._last = 0, 0.0
        self._uneven = False

    def add(self, seconds: float) -> None:
        """Add the time of the next frame in seconds, not before the last one."""
        hole = self._count > 0 and seconds - self._last > hole_after(self._step)
        if hole or self._count % self._every == 0:
            self._at.append(self._count)
            self._begins.append(seconds)
            self._ends.append(min(seconds, self._last + self._step) if hole else seconds)
            self._uneven |= hole or abs(seconds - self._count * self._step) > _UNEVEN * self._step
        self._last = seconds
        self._count += 1

    def times(self) -> FrameTimes | None:
        """The times of all frames; None if they equal ``frame / fps``."""
        if not self._uneven:
            return None
        marks = np.array(self._at), np.array(self._begins), np.array(self._ends)
        return FrameTimes(*marks, self._count, self._last + self._step)
