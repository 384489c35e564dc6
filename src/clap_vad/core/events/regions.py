"""Where in the picture something happens: the places that stand out, joined into one region."""

from __future__ import annotations

import numpy as np

__all__ = ["Region", "peak_region"]

Region = tuple[float, float, float, float]
"""Left, top, right, bottom, as parts of the picture's width and height."""

_STANDS_OUT = 0.5
_NEAR = 1e-9


def peak_region(contributions: np.ndarray, places: np.ndarray, valid: np.ndarray | None = None) -> Region | None:
    """The box round the place that contributes most and those that touch it and stand out as well.

    A place stands out where it lies nearer to the highest value than to the median of those present.

    Args:
        contributions: (C,) how much each place has to do with a score.
        places: (C, 4) their boxes.
        valid: (C,) bool, the places that are present; None where all are.

    Returns:
        Left, top, right, bottom; None where no place is present.

    >>> grid = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    >>> peak_region(np.array([0.1, 0.9]), grid)
    (0.5, 0.0, 1.0, 1.0)
    """
    if valid is not None:
        contributions, places = contributions[valid], places[valid]
    if not len(contributions):
        return None
    middle, peak = float(np.median(contributions)), int(np.argmax(contributions))
    standing = contributions >= middle + _STANDS_OUT * (float(contributions[peak]) - middle)
    joined, new = np.zeros(len(contributions), bool), [peak]
    while new:
        joined[new] = True
        box = places[joined][:, None]
        touching = (places[None, :, :2] <= box[..., 2:] + _NEAR).all(axis=-1)
        touching &= (places[None, :, 2:] >= box[..., :2] - _NEAR).all(axis=-1)
        new = np.flatnonzero(touching.any(axis=0) & standing & ~joined).tolist()
    left, top = places[joined][:, :2].min(axis=0).tolist()
    right, bottom = places[joined][:, 2:].max(axis=0).tolist()
    return left, top, right, bottom
