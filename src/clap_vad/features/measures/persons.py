"""Ten features of a tracked person in a segment, and assignment of persons to track slots.

Speeds are measured over several time spans, as walking, running and jerks differ at different spans. All spans look
back, so that a live stream can be scored as soon as a segment ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..roles import SAME_WITHIN

__all__ = ["PERSON_FEATURES", "POSITION", "SPANS", "TrackSlots", "look_back", "person_quantities", "person_statistics"]

SPANS = (1 / 6, 1 / 2, 1.0, 2.0)
"""Time spans of the speeds in seconds."""

_DIRECTION_SPAN = 1
"""Index of the time span of horizontal and vertical velocity."""

PERSON_FEATURES = (
    *(f"speed over {span:.3g} s" for span in SPANS),  # of the centre, h per second
    "horizontal speed",  # |vx| over 0.5 s, h per second
    "vertical velocity",  # vy over 0.5 s, downwards positive, h per second
    "log aspect",  # ln(width / height)
    "log height",  # ln(height / picture height)
    "x",  # centre, 0..1 across the picture
    "y",  # centre, 0..1 down the picture
)
"""The ten features; h is the height of the box."""

POSITION = (PERSON_FEATURES.index("x"), PERSON_FEATURES.index("y"))
"""The features that are specific to a camera."""


def look_back(fps: float) -> int:
    """Number of frames before a box that its features depend on."""
    return _frames(SPANS[-1], fps)


def person_quantities(
    frame: np.ndarray, person: np.ndarray, box: np.ndarray, *, fps: float, size: tuple[int, int]
) -> np.ndarray:
    """Compute the ten features of every box.

    A velocity is the step of the centre from the person's earliest box within the time span, divided by the time
    between the boxes; NaN if there is no such box. Boxes smaller than a pixel count as one pixel.

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
    moment = (p << 28) + f  # one sorted key of person and frame, to find the earliest box in a span by bisection
    close = _has_close(p, f, fps)
    velocities = []
    for span in SPANS:
        before = np.searchsorted(moment, np.maximum(moment - _frames(span, fps), p << 28))
        # in a slow or interrupted stream a span may be shorter than the time between two boxes: use the previous box
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
    """(n,) bool, whether the previous row is a box of the same person within the longest time span."""
    close = np.zeros(len(f), bool)
    close[1:] = (p[1:] == p[:-1]) & (f[1:] - f[:-1] <= _frames(SPANS[-1], fps)) & (f[1:] > f[:-1])
    return close


class TrackSlots:
    """Track slots: a person keeps its slot from segment to segment, and for up to 3 segments of absence.

    Meanwhile other persons get this slot only if no other is free. So a slot without gaps of more than 3 segments is
    one person.

    Args:
        count: number of slots.

    >>> slots = TrackSlots(3)
    >>> slots.take([5, 9]), slots.take([9]), slots.take([2, 5, 9])
    ([0, 1], [1], [2, 0, 1])
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._last: dict[int, tuple[int, int]] = {}  # slot -> person, number of segments of absence

    def take(self, persons: Sequence[int]) -> list[int]:
        """Slots of these persons in the next segment; there must be at most ``count`` persons."""
        known = {person: slot for slot, (person, _) in self._last.items()}
        slots = {person: known[person] for person in persons if person in known}
        taken = set(slots.values())
        # Unreserved slots come first, then those whose person has been absent for longest.
        free = iter(
            sorted(
                (slot for slot in range(self._count) if slot not in taken),
                key=lambda slot: (-self._last[slot][1] if slot in self._last else -self._count - SAME_WITHIN, slot),
            )
        )
        for person in persons:
            if person not in slots:
                slots[person] = next(free)
        now = {slot: (person, 0) for person, slot in slots.items()}
        reserved = {
            slot: (person, absent + 1)
            for slot, (person, absent) in self._last.items()
            if slot not in now and absent < SAME_WITHIN
        }
        self._last = reserved | now
        return [slots[person] for person in persons]


def person_statistics(
    quantities: np.ndarray, segment: np.ndarray, person: np.ndarray, segments: int, slots: TrackSlots, crops: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Compute the mean features of every person in every segment.

    A person without a known velocity in a segment (such as at its first box) is not included. If there are more persons
    than slots, those with the most boxes in the segment are kept (on ties, the smaller id).

    Args:
        quantities: (n, 10) from :func:`person_quantities`, with optional further columns to average.
        segment, person: (n,) segment and person of each box.
        segments: T.
        slots: the slots of the previous segment; updated to those of the last segment.
        crops: C, the number of slots.

    Returns:
        means (T, C, columns) float32, valid (T, C) bool, and the number of persons without a slot, summed over the
        segments.
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
        taken = slots.take(pairs[1][own].tolist())
        features[t, taken], valid[t, taken] = means[own], True
    return features, valid, left_out
