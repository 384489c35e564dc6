"""Extremes by bisection, counts beyond a threshold: what a coordinator may ask within the bounds of an honest run.

The normalisation is the honest one; means lie within the cut, variances within what rows allow. A component far out
along a direction takes every row beyond a threshold from the one in the middle. Moved until it takes one row alone, it
tells that row: the person that is the fastest, the tallest, the furthest to the left.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.bounded_density import BoundedSums
from ..core.density import COMPONENTS, CUT, LEAST_VARIANCE, Mixture
from .cells import CellSums, padded

__all__ = ["ExtremeSearch", "beyond", "directions", "exact_parts", "extreme_rows", "halves"]

_VARIANCE = 0.2
_BISECTIONS = 7
"""Of the range of a number, under noise; then the same is asked again and again. Without noise there is no need to."""


def directions(dim: int) -> np.ndarray:
    """(m, d) unit vectors: up and down along each number, as many as there are components for.

    >>> directions(2).tolist()
    [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    """
    both = np.stack([np.eye(dim), -np.eye(dim)], axis=1).reshape(2 * dim, dim)
    return both[: COMPONENTS - 1] + 0.0


def extreme_rows(rows: np.ndarray) -> np.ndarray:
    """(m, d) the row that lies furthest along each direction."""
    found: np.ndarray = rows[(rows @ directions(rows.shape[1]).T).argmax(axis=0)]
    return found


def beyond(dim: int, thresholds: np.ndarray) -> Mixture:
    """A component in the middle, and one along each direction that takes what lies beyond its threshold.

    Args:
        dim: d.
        thresholds: (m,) above 0 and below the cut.
    """
    along = directions(dim)[: len(thresholds)]
    reach = np.minimum(2 * thresholds, CUT)  # equal weights part two components half way; beyond that weights do
    logs = -(thresholds - reach / 2) * reach / _VARIANCE
    weights = np.exp(np.concatenate([[0.0], np.clip(logs, -700, 700)]))
    means = np.concatenate([np.zeros((1, dim)), along * reach[:, None]])
    covariances = np.tile(_VARIANCE * np.eye(dim), (len(means), 1, 1))
    return padded(Mixture(weights / weights.sum(), means, covariances))


class ExtremeSearch:
    """Bisects along all directions at once.

    Args:
        dim: d.
        radius: R of the sums.
        exact: whether the sums have no noise.
    """

    def __init__(self, dim: int, radius: float, exact: bool) -> None:
        self._dim, self._radius, self._exact = dim, radius, exact
        self._along = directions(dim)
        self._low = np.full(len(self._along), 0.05)
        self._high = np.full(len(self._along), CUT - 1e-9)
        self._asked = self._low
        self._mixture = beyond(dim, self._asked)
        self._number = 0
        self._alone: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._sums: BoundedSums | None = None
        self._repeats = 0

    def question(self) -> Mixture:
        """The next mixture."""
        if self._exact or self._number < _BISECTIONS:
            self._asked = (self._low + self._high) / 2
        elif self._sums is None:
            self._asked = self._low
        self._mixture = beyond(self._dim, self._asked)
        return self._mixture

    def answered(self, sums: BoundedSums) -> None:
        """Take in the answer to the last question."""
        found = CellSums(self._mixture, sums, self._radius)
        if not self._exact and self._number >= _BISECTIONS:
            self._sums = sums if self._sums is None else self._sums + sums
            self._repeats += 1
        else:
            for k in range(len(self._along)):
                mass = float(found.mass[k + 1])
                if 0.9 < mass < 1.1:
                    self._alone[k] = (self._mixture.means[k + 1], found.first[k + 1] / mass)
                (self._low if mass > 0.5 else self._high)[k] = self._asked[k]
        self._number += 1

    @property
    def guesses(self) -> dict[int, np.ndarray]:
        """Direction -> the row that it believes to be the furthest along it."""
        if self._sums is not None:
            found = CellSums(self._mixture, self._sums.times(1 / self._repeats), self._radius)
            for k in range(len(self._along)):
                mass = max(float(found.mass[k + 1]), 1.0)
                self._alone[k] = (self._mixture.means[k + 1], found.first[k + 1] / mass)
        return {k: self._row(k, mean, z) for k, (mean, z) in self._alone.items()}

    def _row(self, k: int, mean: np.ndarray, z: np.ndarray) -> np.ndarray:
        """From a row in a component's coordinates, which may have been shortened: how far out it is, is known."""
        along = self._along[k]
        z = z * math.sqrt(_VARIANCE)
        out, known = float(z @ along), float(self._low[k] - mean @ along)
        short = np.linalg.norm(z) >= self._radius * math.sqrt(_VARIANCE) * (1 - 1e-3)
        factor = known / out if short and abs(out) > 1e-6 and known / out > 1 else 1.0
        return np.clip(mean + z * factor, -CUT, CUT)


def halves(dim: int, column: int, threshold: float) -> Mixture:
    """Two components that part the rows at a threshold of one number; the second takes what lies beyond."""
    reach = CUT - abs(threshold)
    means = np.zeros((2, dim))
    means[:, column] = threshold - reach, threshold + reach
    return padded(Mixture(np.full(2, 0.5), means, np.tile(LEAST_VARIANCE * np.eye(dim), (2, 1, 1))))


def exact_parts(told: np.ndarray, true: int) -> float:
    """Part of the counts that are the true one once they are rounded.

    >>> exact_parts(np.array([1.6, 2.2, 3.0]), 2)
    0.6666666666666666
    """
    return float((np.rint(told) == true).mean())
