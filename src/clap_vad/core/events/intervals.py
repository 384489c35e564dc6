"""Where a series of flags is true, as stretches."""

from __future__ import annotations

import numpy as np

__all__ = ["intervals"]


def intervals(flags: np.ndarray) -> np.ndarray:
    """Stretches [start, stop) of true values, in order: (k, 2) int64.

    Args:
        flags: (n,) booleans, or numbers of which any but 0 is true.

    >>> intervals(np.array([0, 1, 1, 0, 1])).tolist()
    [[1, 3], [4, 5]]
    """
    padded = np.concatenate(([False], np.asarray(flags) != 0, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)
