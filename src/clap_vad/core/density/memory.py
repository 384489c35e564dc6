"""Memory bank of rows: distance of a row to its nearest neighbours in it."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import KDTree

__all__ = ["NEIGHBOURS", "Memory", "most_remembered", "usual_distance_ratio"]

NEIGHBOURS = 10
_MOST_OF_A_TREE = 12
"""Most dimensions for a k-d tree; in more dimensions it visits nearly every row and a matrix product is faster."""

_MOST_LOGARITHM = 50.0
"""Limit on the logarithm of a ratio of distances; real ratios are far smaller."""

_BLOCK = 256
_MOST, _MOST_OF_WIDE = 20_000, 4_000


def most_remembered(dim: int) -> int:
    """Most rows of ``dim`` dimensions that a memory should hold; this bounds the time of a query.

    >>> most_remembered(10), most_remembered(32)
    (20000, 4000)
    """
    return _MOST if dim <= _MOST_OF_A_TREE else _MOST_OF_WIDE


def usual_distance_ratio(ratio: float, usual_ratio: float, rows: int, usual_rows: float, dim: int) -> float:
    """Ratio of the distances within this memory to those in a memory typical of all sites.

    The distance to the k-th nearest of n rows of density p is proportional to ``(n p)^(-1/d)`` (Loftsgaarden and
    Quesenberry 1965). Sites compare their distances through the common density, so they send no distance.

    Args:
        ratio, usual_ratio: median log-likelihood ratio ``ln q - ln p`` under the common density, of the memory's rows
            and of the rows of all sites.
        rows, usual_rows: number of rows of this memory and of a typical one.
        dim: d.

    >>> round(usual_distance_ratio(1.0, 1.0, 100, 1600.0, 4), 6)
    2.0
    """
    # Clipped, so that whoever sends the usual values cannot learn about the rows from an overflow.
    logarithm = (ratio - usual_ratio + math.log(usual_rows) - math.log(rows)) / dim
    return math.exp(min(max(logarithm, -_MOST_LOGARITHM), _MOST_LOGARITHM))


class Memory:
    """Mean Euclidean distance to the 10 nearest stored rows.

    Args:
        rows: (n, d), more than 10.

    >>> Memory(np.arange(20.0)[:, None]).distances(np.array([[-1.0]])).tolist()
    [5.5]
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows.astype(np.float64)
        self._tree = KDTree(self._rows) if rows.shape[1] <= _MOST_OF_A_TREE else None
        self._squares = np.square(self._rows).sum(axis=1)

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """Distances of (n, d) rows, (n,) float64."""
        return np.asarray(self._nearest(rows.astype(np.float64), NEIGHBOURS).mean(axis=1))

    def distances_within(self) -> np.ndarray:
        """Distances of the stored rows, each to the others, (rows,) float64."""
        return np.asarray(self._nearest(self._rows, NEIGHBOURS + 1)[:, 1:].mean(axis=1))

    def _nearest(self, rows: np.ndarray, count: int) -> np.ndarray:
        """Distances to the nearest ``count`` rows, (n, count), ascending."""
        if self._tree is not None:
            return np.asarray(self._tree.query(rows, count)[0])
        found = [np.zeros((0, count))]
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            apart = self._squares - 2 * (block @ self._rows.T) + np.square(block).sum(axis=1)[:, None]
            found.append(np.sqrt(np.maximum(np.sort(np.partition(apart, count - 1, axis=1)[:, :count], axis=1), 0.0)))
        return np.concatenate(found)
