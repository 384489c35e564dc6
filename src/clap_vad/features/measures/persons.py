"""What a tracked person does in a segment: ten numbers, and a place that is the person's as long as it is there.

Speeds are taken over several spans of time, because a walk, a run and a jerk differ at different ones. All look back,
never ahead, so that a live stream can be judged as soon as a segment is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..roles import SAME_WITHIN

__all__ = ["PERSON_FEATURES", "POSITION", "SPANS", "TrackSlots", "look_back", "person_quantities", "person_statistics"]

SPANS = (1 / 6, 1 / 2, 1.0, 2.0)
"""Seconds over which speeds are taken."""

_DIRECTION_SPAN = 1
"""Index of the span of horizontal and vertical velocity."""

PERSON_FEATURES = (
    *(f"speed over {span:.3g} s" for span in SPANS),  # of the centre, h per second
    "horizontal speed",  # |vx| over 0.5 s, h per second
    "vertical velocity",  # vy over 0.5 s, downwards positive, h per second
    "log aspect",  # ln(width / height)
    "log height",  # ln(height / picture height)
    "x",  # centre, 0..1 across the picture
    "y",  # centre, 0..1 down the picture
)
"""The ten numbers, h being the height of the box itself."""

POSITION = (PERSON_FEATURES.index("x"), PERSON_FEATURES.index("y"))
"""Those that mean something to one camera only."""


def look_back(fps: float) -> int:
    """Frames before a box that its quantities depend on."""
    return _frames(SPANS[-1], fps)


def person_quantities(
    frame: np.ndarray, person: np.ndarray, box: np.ndarray, *, fps: float, size: tuple[int, int]
) -> np.ndarray:
    """The ten numbers of every box.

    A velocity is the step of the centre from the person's earliest box within the span before it, divided by the time
    between. Where there is no such box it is NaN: not known. Boxes lower or narrower than a pixel count as one pixel.

    Args:
        frame, person: (n,) integers from 0, in any order, frame below 2**28 and person below 2**31.
        box: (n, 4) left, top, right, bottom in pixels.
        fps: frames per second.
        size: width and height of the picture.

    Returns:
        (n, 10) float64, columns as in :data:`PERSON_FEATURES`.

    >>> frame, person, box = np.array([0, 2]), np.array([7, 7]), np.array([[0, 0, 10, 20], [5, 0, 15, 20]])
    >>> person_quantities(frame, person, box, fps=10, size=(100, 40))[1, :2].tolist()
    [1.25, 1.25]
    """
    order = np.lexsort((frame, person))
    f, p, b = frame[order].astype(np.int64), person[order].astype(np.int64), box[order].astype(np.float64)
    width, height = np.maximum(b[:, 2] - b[:, 0], 1.0), np.maximum(b[:, 3] - b[:, 1], 1.0)
    centre = (b[:, :2] + b[:, 2:]) / 2
    moment = (p << 28) + f  # one sorted key for both: the earliest box within a span is found by bisection
    close = _has_close(p, f, fps)
    velocities = []
    for span in SPANS:
        before = np.searchsorted(moment, np.maximum(moment - _frames(span, fps), p << 28))
        # a span may be shorter than the time between two boxes of a slow or broken stream: then the box just before
        before = np.where((before == np.arange(len(f))) & close, before - 1, before)
        gap = f - f[before]
        velocity = (centre - centre[before]) / (np.where(gap > 0, gap, 1) / fps)[:, None]
        velocity[gap == 0] = np.nan
        velocities.append(velocity / height[:, None])
    across, down = velocities[_DIRECTION_SPAN].T
    result = np.empty((len(f), len(PERSON_FEATURES)))
    result[order] = np.column_stack(
        [
            *(np.hypot(*velocity.T) for velocity in velocities),
            np.abs(across),
            down,
            np.log(width / height),
            np.log(height / size[1]),
            centre[:, 0] / size[0],
            centre[:, 1] / size[1],
        ]
    )
    return result


def _frames(span: float, fps: float) -> int:
    return max(1, round(span * fps))


def _has_close(p: np.ndarray, f: np.ndarray, fps: float) -> np.ndarray:
    """(n,) bool, whether the row before is of the same person, within the longest span."""
    close = np.zeros(len(f), bool)
    close[1:] = (p[1:] == p[:-1]) & (f[1:] - f[:-1] <= _frames(SPANS[-1], fps)) & (f[1:] > f[:-1])
    return close


class TrackSlots:
    """Who sits where: a person keeps its place from segment to segment, also through 3 in which it is not seen.

    Others get that place only later, wherever there is another: so a place that is taken, with gaps of 3 segments at
    most, is one person.

    Args:
        count: number of places.

    >>> slots = TrackSlots(3)
    >>> slots.take([5, 9]), slots.take([9]), slots.take([2, 5, 9])
    ([0, 1], [1], [2, 0, 1])
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._last: dict[int, tuple[int, int]] = {}  # place -> person, and segments since it was seen

    def take(self, persons: Sequence[int]) -> list[int]:
        """Places of these persons, no more than there are places, in the next segment."""
        known = {person: place for place, (person, _) in self._last.items()}
        seated = {person: known[person] for person in persons if person in known}
        taken = set(seated.values())
        # Places that nobody waits for come first, then those whose person has been away for longest.
        free = iter(
            sorted(
                (place for place in range(self._count) if place not in taken),
                key=lambda place: (-self._last[place][1] if place in self._last else -self._count - SAME_WITHIN, place),
            )
        )
        for person in persons:
            if person not in seated:
                seated[person] = next(free)
        now = {place: (person, 0) for person, place in seated.items()}
        waiting = {
            place: (person, away + 1)
            for place, (person, away) in self._last.items()
            if place not in now and away < SAME_WITHIN
        }
        self._last = waiting | now
        return [seated[person] for person in persons]


def person_statistics(
    quantities: np.ndarray, segment: np.ndarray, person: np.ndarray, segments: int, slots: TrackSlots, crops: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """The means of every person's quantities in every segment.

    A person of whom no velocity is known in a segment, as at its very first box, is not there yet. Of more persons than
    places those with the most boxes in the segment stay (the smaller id where equal).

    Args:
        quantities: (n, 10) of :func:`person_quantities`, with any more columns whose means are wanted.
        segment, person: (n,) of each box.
        segments: T.
        slots: who sat where in the segment before; told who sits where in the last of these.
        crops: C, the number of places.

    Returns:
        means (T, C, columns) float32, valid (T, C) bool, and how many persons
        of a segment found no place, summed over the segments.
    """
    features = np.zeros((segments, crops, quantities.shape[1]), np.float32)
    valid = np.zeros((segments, crops), np.bool_)
    known = ~np.isnan(quantities[:, 0])
    q, boxes = quantities[known], np.stack([segment[known], person[known]])
    pairs, member, count = np.unique(boxes, axis=1, return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(member.ravel(), column, len(count)) / np.maximum(count, 1) for column in q.T], axis=1)
    left_out = 0
    bounds = np.searchsorted(pairs[0], np.arange(segments + 1))
    for t, (start, stop) in enumerate(pairwise(bounds)):
        own = np.arange(start, stop)
        if len(own) > crops:
            left_out += len(own) - crops
            own = np.sort(own[np.lexsort((pairs[1][own], -count[own]))[:crops]])
        places = slots.take(pairs[1][own].tolist())
        features[t, places], valid[t, places] = means[own], True
    return features, valid, left_out
