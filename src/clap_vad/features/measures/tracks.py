"""Statistics of tracked boxes per segment.

Eight quantities of a box, relative to its height h or to the picture, to be comparable between near and far people and
between cameras of different resolution and frame rate: see :data:`QUANTITIES`.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "QUANTITIES",
    "SEGMENT_FEATURES",
    "box_quantities",
    "grouped_statistics",
    "segment_statistics",
]

QUANTITIES = (
    "speed",  # of the centre, h per second
    "horizontal speed",  # |vx|, h per second
    "vertical velocity",  # vy, downwards positive, h per second
    "log aspect",  # ln(width / height)
    "log height",  # ln(height / picture height)
    "acceleration",  # size of the velocity's change, h per second squared
    "x",  # centre, 0..1 across the picture
    "y",  # centre, 0..1 down the picture
)
STATISTICS = ("mean", "maximum", "90th percentile", "deviation")
SEGMENT_FEATURES = (
    *(f"{quantity} {statistic}" for quantity in QUANTITIES for statistic in STATISTICS),
    "boxes per frame mean",
    "boxes per frame maximum",
)
"""The 34 features of a segment."""


def box_quantities(
    frame: np.ndarray, person: np.ndarray, box: np.ndarray, *, fps: float, size: tuple[int, int], lag: int
) -> np.ndarray:
    """Compute the quantities of every box.

    Velocity is the step of the centre from the person's earliest box at most ``lag`` frames before, divided by the time
    between the boxes: over a single frame, rounding to whole pixels exceeds walking speed. If there is no such box,
    speed, velocities and acceleration are NaN. Acceleration is the velocity change between the same two boxes, divided
    by the same time. Boxes smaller than a pixel count as one pixel.

    Args:
        frame, person: (n,) integers from 0, in any order, frame below 2**28 and person below 2**31.
        box: (n, 4) left, top, right, bottom in pixels.
        fps: frames per second.
        size: width and height of the picture.
        lag: longest time in frames between the two boxes of a velocity.

    Returns:
        (n, 8) float64, columns as in :data:`QUANTITIES`.

    >>> frame, person, box = np.array([0, 2]), np.array([7, 7]), np.array([[0, 0, 10, 20], [5, 0, 15, 20]])
    >>> box_quantities(frame, person, box, fps=10, size=(100, 40), lag=5)[1, 0]
    np.float64(1.25)
    """
    order = np.lexsort((frame, person))
    f, p, b = frame[order].astype(np.int64), person[order].astype(np.int64), box[order].astype(np.float64)
    width, height = np.maximum(b[:, 2] - b[:, 0], 1.0), np.maximum(b[:, 3] - b[:, 1], 1.0)
    centre = (b[:, :2] + b[:, 2:]) / 2
    moment = (p << 28) + f  # one sorted key of person and frame, to find the earliest box in the lag by bisection
    before = np.searchsorted(moment, np.maximum(moment - lag, p << 28))
    gap = f - f[before]
    known = gap > 0
    seconds = np.where(known, gap, 1) / fps
    velocity = (centre - centre[before]) / seconds[:, None]
    velocity[~known] = np.nan
    change = (velocity - velocity[before]) / seconds[:, None]
    result = np.empty((len(f), len(QUANTITIES)))
    result[order] = np.column_stack(
        [
            np.hypot(*velocity.T) / height,
            np.abs(velocity[:, 0]) / height,
            velocity[:, 1] / height,
            np.log(width / height),
            np.log(height / size[1]),
            np.hypot(*change.T) / height,
            centre[:, 0] / size[0],
            centre[:, 1] / size[1],
        ]
    )
    return result


def grouped_statistics(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """Mean, maximum, 90th percentile (linear interpolation) and deviation (ddof 0) of the values of every group.

    Args:
        values: (n,); NaN (unknown) is ignored.
        group: (n,) integers in [0, groups).
        groups: number of groups.

    Returns:
        (groups, 4) float64, zeros for a group without a known value.

    >>> grouped_statistics(np.array([1.0, 3.0, np.nan]), np.array([1, 1, 0]), 2).tolist()
    [[0.0, 0.0, 0.0, 0.0], [2.0, 3.0, 2.8, 1.0]]
    """
    known = ~np.isnan(values)
    order = np.lexsort((values[known], group[known]))
    v, g = values[known][order], group[known][order]
    count = np.bincount(g, minlength=groups)
    result = np.zeros((groups, len(STATISTICS)))
    some = count > 0
    n = count[some]
    start = (np.cumsum(count) - count)[some]
    mean = np.bincount(g, weights=v, minlength=groups)[some] / n
    spread = np.zeros(groups)
    spread[some] = mean
    deviation = np.sqrt(np.bincount(g, weights=(v - spread[g]) ** 2, minlength=groups)[some] / n)
    below = np.floor(0.9 * (n - 1)).astype(np.intp)
    part = 0.9 * (n - 1) - below
    low, high = v[start + below], v[start + np.minimum(below + 1, n - 1)]
    result[some] = np.column_stack([mean, v[start + n - 1], low + part * (high - low), deviation])
    return result


def segment_statistics(
    quantities: np.ndarray, segment: np.ndarray, frame: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Compute the 34 features of every segment.

    Args:
        quantities: (n, 8) from :func:`box_quantities`.
        segment: (n,) segment of each box, in [0, T).
        frame: (n,) frame of each box.
        lengths: (T,) frames of each segment.

    Returns:
        (T, 34) float32, columns as in :data:`SEGMENT_FEATURES`; zeros for a segment without boxes.
    """
    groups = len(lengths)
    columns = [grouped_statistics(values, segment, groups) for values in quantities.T]
    frames, boxes = np.unique(np.stack([segment, frame]), axis=1, return_counts=True)
    most = np.zeros(groups)
    np.maximum.at(most, frames[0], boxes)
    mean = np.bincount(segment, minlength=groups) / lengths
    return np.column_stack([*columns, mean, most]).astype(np.float32)
