"""Components chosen by a malicious coordinator, and what their sums reveal about the rows in each.

A component acts as a cell: a row's whole weight goes to its cell. A cell with one row has no variance, and its mean is
the row; with two rows the variance has one direction, and they lie at its ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...core.density.bounded_density import SHARES, BoundedSums, bounded_sums
from ...core.density.gaussian_mixture import COMPONENTS, CUT, LEAST_VARIANCE, Mixture

__all__ = ["LEAST_MASS", "WHOLE", "CellSums", "about", "mean_sums", "padded", "spheres"]

WHOLE = 1e-3
"""Tolerance of the weight of two rows, which is 2."""

_SINGLE = 1e-6
LEAST_MASS = 0.02
"""Least mass of a cell with information."""


class CellSums:
    """The sums of one answer by cell, in each component's whitened, clipped coordinates.

    Args:
        mixture: mixture of the question.
        sums: sums in the answer.
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
        """Subtract known rows."""
        known = CellSums(self.mixture, bounded_sums(self.mixture, rows, weights, self.radius), self.radius)
        self.mass -= known.mass
        self.first -= known.first
        self.second -= known.second

    def mean(self, cell: int) -> np.ndarray:
        """(d,) mean of the rows in a cell, if none of them was clipped."""
        return self.mixture.means[cell] + self._roots[cell] @ (self.first[cell] / self.mass[cell])

    def gaussian(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the rows in a cell."""
        z = self.first[cell] / self.mass[cell]
        root = self._roots[cell]
        spread = root @ (self.second[cell] / self.mass[cell] - np.outer(z, z)) @ root.T
        values, vectors = np.linalg.eigh(spread)
        return self.mean(cell), (vectors * np.clip(values, 1e-4, CUT**2)) @ vectors.T

    def opened(self, cell: int, whole: bool) -> np.ndarray:
        """The rows of a cell with one or two rows, (0 to 2, d).

        Args:
            cell: index of the cell.
            whole: True if a row counts 1, so that two rows have mass 2.
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
            return none  # clipped: its distance is unknown
        return self.mixture.means[cell] + ends @ self._roots[cell].T


def about(centres: np.ndarray, scale: float) -> Mixture:
    """Cells around up to 64 centres, (k, d), half a standard deviation of the rows wide."""
    return spheres(np.zeros(len(centres)), np.clip(centres, -CUT, CUT), np.full(len(centres), (0.5 * scale) ** 2))


def padded(mixture: Mixture) -> Mixture:
    """The mixture with as many components as a question has; additional ones have weight 0."""
    k, d = mixture.means.shape
    weights, means = np.zeros(COMPONENTS), np.zeros((COMPONENTS, d))
    covariances = np.tile(np.eye(d), (COMPONENTS, 1, 1))
    weights[:k], means[:k], covariances[:k] = mixture.weights, mixture.means, mixture.covariances
    return Mixture(weights, means, covariances)


def mean_sums(ask: Callable[[], BoundedSums], times: int) -> BoundedSums:
    """The mean of several answers: noise falls with the square root of their number."""
    total = ask()
    for _ in range(times - 1):
        total = total + ask()
    return total.times(1 / times)


def spheres(logs: np.ndarray, means: np.ndarray, variances: np.ndarray) -> Mixture:
    """Isotropic Gaussians with these log weights; unused components have weight 0."""
    weights = np.exp(np.clip(logs - logs.max(), -700, 0))
    variances = np.clip(variances, LEAST_VARIANCE, CUT**2)
    return padded(Mixture(weights / weights.sum(), means, variances[:, None, None] * np.eye(means.shape[1])))
