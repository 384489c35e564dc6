"""Components that a coordinator places as it likes, and what their sums say of the rows that fall into each.

A component is a cell: all weight of a row goes to the one that it lies in. A cell that holds one row has no variance,
and its mean is the row; of two rows the variance has one direction, and they lie at its ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...core.density.bounded_density import SHARES, BoundedSums, bounded_sums
from ...core.density.gaussian_mixture import COMPONENTS, CUT, LEAST_VARIANCE, Mixture

__all__ = ["LEAST_MASS", "WHOLE", "CellSums", "about", "mean_sums", "padded", "spheres"]

WHOLE = 1e-3
"""How far the weight of two rows may be from 2."""

_SINGLE = 1e-6
LEAST_MASS = 0.02
"""Of a cell that says anything."""


class CellSums:
    """What one answer says of its cells, in each component's own whitened, shortened coordinates.

    Args:
        mixture: that was asked about.
        sums: that came.
        radius: R of the sums.
    """

    def __init__(self, mixture: Mixture, sums: BoundedSums, radius: float) -> None:
        k, d = mixture.means.shape
        i, j = np.triu_indices(d)
        flat = sums.second * (radius**2 / SHARES[2]) / np.where(i == j, 1.0, math.sqrt(2))
        self.mixture, self.radius = mixture, radius
        self.mass = sums.mass / SHARES[0]
        self.first = sums.first * (radius / SHARES[1])
        self.second = np.empty((k, d, d))
        self.second[:, i, j] = self.second[:, j, i] = flat
        self._roots = np.linalg.cholesky(mixture.covariances)

    def without(self, rows: np.ndarray, weights: np.ndarray) -> None:
        """Take rows that are known off."""
        known = CellSums(self.mixture, bounded_sums(self.mixture, rows, weights, self.radius), self.radius)
        self.mass -= known.mass
        self.first -= known.first
        self.second -= known.second

    def mean(self, cell: int) -> np.ndarray:
        """(d,) mean of the rows in a cell, where none of them was shortened."""
        return self.mixture.means[cell] + self._roots[cell] @ (self.first[cell] / self.mass[cell])

    def gaussian(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the rows in a cell."""
        z = self.first[cell] / self.mass[cell]
        root = self._roots[cell]
        spread = root @ (self.second[cell] / self.mass[cell] - np.outer(z, z)) @ root.T
        values, vectors = np.linalg.eigh(spread)
        return self.mean(cell), (vectors * np.clip(values, 1e-4, CUT**2)) @ vectors.T

    def opened(self, cell: int, whole: bool) -> np.ndarray:
        """The one or two rows of a cell, (0 to 2, d).

        Args:
            cell: which.
            whole: whether a row counts 1, so that two rows weigh 2.
        """
        none = np.zeros((0, self.mixture.dim))
        mass = float(self.mass[cell])
        if mass < LEAST_MASS:
            return none
        z = self.first[cell] / mass
        values, vectors = np.linalg.eigh(self.second[cell] / mass - np.outer(z, z))
        small = _SINGLE * (1 + float(z @ z))
        if values[-1] < small:
            ends = z[None]
        elif whole and abs(mass - 2) < WHOLE and len(values) > 1 and values[-2] < small:
            half = math.sqrt(values[-1]) * vectors[:, -1]
            ends = np.array([z + half, z - half])
        else:
            return none
        if (np.linalg.norm(ends, axis=1) >= self.radius * (1 - _SINGLE)).any():
            return none  # shortened: how far away it is is not told
        return self.mixture.means[cell] + ends @ self._roots[cell].T


def about(centres: np.ndarray, scale: float) -> Mixture:
    """Cells about up to 64 centres, (k, d), half a deviation of the rows wide."""
    return spheres(np.zeros(len(centres)), np.clip(centres, -CUT, CUT), np.full(len(centres), (0.5 * scale) ** 2))


def padded(mixture: Mixture) -> Mixture:
    """With as many components as a question has; the others have no weight."""
    k, d = mixture.means.shape
    weights, means = np.zeros(COMPONENTS), np.zeros((COMPONENTS, d))
    covariances = np.tile(np.eye(d), (COMPONENTS, 1, 1))
    weights[:k], means[:k], covariances[:k] = mixture.weights, mixture.means, mixture.covariances
    return Mixture(weights, means, covariances)


def mean_sums(ask: Callable[[], BoundedSums], times: int) -> BoundedSums:
    """The mean of several answers: their noise falls with the root of their number."""
    total = ask()
    for _ in range(times - 1):
        total = total + ask()
    return total.times(1 / times)


def spheres(logs: np.ndarray, means: np.ndarray, variances: np.ndarray) -> Mixture:
    """Gaussians alike in all directions, with weights of these logarithms; those that are not needed have none."""
    weights = np.exp(np.clip(logs - logs.max(), -700, 0))
    variances = np.clip(variances, LEAST_VARIANCE, CUT**2)
    return padded(Mixture(weights / weights.sum(), means, variances[:, None, None] * np.eye(means.shape[1])))
