"""A memory of rows: how far a row lies from the nearest of them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

__all__ = ["NEIGHBOURS", "Memory"]

NEIGHBOURS = 10


class Memory:
    """Mean Euclidean distance to the 10 nearest remembered rows.

    Args:
        rows: (n, d), more than 10.

    >>> Memory(np.arange(20.0)[:, None]).distances(np.array([[-1.0]])).tolist()
    [5.5]
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows.astype(np.float64)
        self._tree = KDTree(self._rows)

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """Of (n, d) rows, (n,) float64."""
        return np.asarray(self._tree.query(rows.astype(np.float64), NEIGHBOURS)[0].mean(axis=1))

    def distances_within(self) -> np.ndarray:
        """Of the remembered rows themselves, each judged by the others."""
        return np.asarray(self._tree.query(self._rows, NEIGHBOURS + 1)[0][:, 1:].mean(axis=1))
