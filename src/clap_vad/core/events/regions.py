"""The region of an event in the picture: the parts that stand out, joined."""

from __future__ import annotations

import numpy as np

__all__ = ["Region", "peak_region"]

Region = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture's width and height."""

_STANDS_OUT = 0.5
_NEAR = 1e-9


def peak_region(contributions: np.ndarray, places: np.ndarray, valid: np.ndarray | None = None) -> Region | None:
    """The box around the region with the largest contribution and the adjoining regions that stand out too.

    A region stands out if its contribution is nearer to the highest one than to the median of the valid regions.

    Args:
        contributions: (C,) contribution of each region to a score.
        places: (C, 4) boxes of the regions.
        valid: (C,) bool; None if all regions are valid.

    Returns:
        Left, top, right, bottom; None if no region is valid.

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
