"""Where in the picture something happens: the places that stand out, joined into one region."""

from __future__ import annotations

import numpy as np

__all__ = ["Region", "peak_region"]

Region = tuple[float, float, float, float]
"""Left, top, right, bottom, as parts of the picture's width and height."""

_STANDS_OUT = 0.5
_NEAR = 1e-9


def peak_region(shown: np.ndarray, places: np.ndarray) -> Region:
    """The box round the place that is shown most and those that touch it and stand out as well.

    A place stands out where it lies nearer to the highest value than to the median.

    Args:
        shown: (C,) how much each place has to do with a score.
        places: (C, 4) their boxes.

    >>> grid = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    >>> peak_region(np.array([0.1, 0.9]), grid)
    (0.5, 0.0, 1.0, 1.0)
    """
    middle, peak = float(np.median(shown)), int(np.argmax(shown))
    standing = shown >= middle + _STANDS_OUT * (float(shown[peak]) - middle)
    joined, new = np.zeros(len(shown), bool), [peak]
    while new:
        joined[new] = True
        box = places[joined][:, None]
        touching = (places[None, :, :2] <= box[..., 2:] + _NEAR).all(axis=-1)
        touching &= (places[None, :, 2:] >= box[..., :2] - _NEAR).all(axis=-1)
        new = np.flatnonzero(touching.any(axis=0) & standing & ~joined).tolist()
    left, top = places[joined][:, :2].min(axis=0).tolist()
    right, bottom = places[joined][:, 2:].max(axis=0).tolist()
    return left, top, right, bottom
