"""Intervals in which a series of flags is true."""

from __future__ import annotations

import numpy as np

__all__ = ["intervals"]


def intervals(flags: np.ndarray) -> np.ndarray:
    """Intervals [start, stop) of true values, in order: (k, 2) int64.

    Args:
        flags: (n,) booleans, or numbers, where any number but 0 is true.

    >>> intervals(np.array([0, 1, 1, 0, 1])).tolist()
    [[1, 3], [4, 5]]
    """
    padded = np.concatenate(([False], np.asarray(flags) != 0, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)
