"""Sums of an EM step with sensitivity 1: one unit changes them by an L2 norm of at most 1, for any mixture.

A unit is what differential privacy protects: a region, or a video, whose regions then count as their mean. A row enters
a component's sums as ``(r, r z, r z z^T)``: ``r`` is its responsibility, ``z`` the row in the component's coordinates
(whitened by its covariance), clipped to a length of at most R. Responsibilities sum to 1, so the three blocks have L2
norms of at most 1, R and R^2; scaled by :data:`SHARES` the total norm is at most 1. Noise on the sum makes it a
Gaussian mechanism (Dwork and Roth 2014, appendix A).

Clipping makes the M-step one of Huber's estimators of location and scatter (Huber 1981, chapter 8): outliers do not
widen components. :func:`kept_variance` corrects the covariance for Gaussian rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from .gaussian_mixture import CUT, LEAST_VARIANCE, Mixture, posteriors, row_blocks

__all__ = [
    "SHARES",
    "BoundedSums",
    "Fit",
    "bounded_sums",
    "components_for",
    "kept_variance",
    "least_mass",
    "next_fit",
    "radius_for",
]

SHARES = (1 / math.sqrt(6), 1 / math.sqrt(6), 2 / math.sqrt(6))
"""Shares of the norm for masses, first and second moments: second moments have the worst signal-to-noise ratio."""

_TIGHT, _WIDE = 1.0, 3.0
"""R in units of sqrt(d), the usual length of z: with noise and without."""

_MOST_RELATIVE_NOISE = 0.2
"""Largest relative noise of a component's second moments; it limits the number of components."""

_NEGLIGIBLE = 1e-4
"""Rows with a smaller responsibility are left out of a component's sums, to save time."""

_DEAD, _PRIOR_ROWS, _PRIOR_VARIANCE = 5.0, 5.0, 0.1
_SPREAD = 1.0
"""Usual change of a component per step, in its own coordinates; noisier steps are shrunk."""


@dataclass(frozen=True)
class BoundedSums:
    """Sums over units of vectors with norm at most 1; they can be added.

    Attributes:
        mass: (K,) sum of r.
        first: (K, d) sum of r z.
        second: (K, d(d+1)/2) sum of the upper triangle of r z z^T, row by row; off-diagonal entries times sqrt(2).
    """

    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def __add__(self, other: BoundedSums) -> BoundedSums:
        return BoundedSums(self.mass + other.mass, self.first + other.first, self.second + other.second)

    def times(self, factor: float) -> BoundedSums:
        """All entries multiplied by a factor."""
        return BoundedSums(self.mass * factor, self.first * factor, self.second * factor)

    @property
    def norm(self) -> float:
        """L2 norm of all entries; without noise at most the number of units."""
        parts = (self.mass, self.first, self.second)
        return math.sqrt(sum(float(np.square(part).sum()) for part in parts))


def radius_for(dim: int, noise: bool) -> float:
    """R for rows of ``dim`` numbers.

    >>> radius_for(4, noise=True), radius_for(4, noise=False)
    (2.0, 6.0)
    """
    return (_TIGHT if noise else _WIDE) * math.sqrt(dim)


def kept_variance(dim: int, radius: float) -> float:
    """Fraction of a standard Gaussian's variance, in ``dim`` dimensions, that remains after clipping to ``radius``.

    >>> rows = np.random.default_rng(0).standard_normal((200_000, 3))
    >>> rows *= np.minimum(1, 2.0 / np.linalg.norm(rows, axis=1))[:, None]
    >>> bool(abs(np.square(rows).mean() - kept_variance(3, 2.0)) < 0.005)
    True
    """
    from scipy.stats import chi2

    square = radius * radius
    return float((dim * chi2.cdf(square, dim + 2) + square * chi2.sf(square, dim)) / dim)


def bounded_sums(mixture: Mixture, rows: np.ndarray, weights: np.ndarray, radius: float) -> BoundedSums:
    """A site's sums for one EM step.

    Args:
        mixture: K components in d dimensions.
        rows: (n, d).
        weights: (n,) weight of each row; the weights of one unit sum to at most 1.
        radius: R.
    """
    k, d = mixture.means.shape
    whitening = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
    mass, first, second = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    for start, block in row_blocks(rows):
        responsible, own = posteriors(mixture, block), weights[start : start + len(block)]
        # Decided row by row: if it depended on other rows, adding one unit could drop rows of all others.
        counts = responsible > _NEGLIGIBLE
        for number in np.flatnonzero(counts.any(axis=0)):
            used = np.flatnonzero(counts[:, number])
            z = (block[used] - mixture.means[number]) @ whitening[number].T
            length = np.sqrt(np.einsum("nd,nd->n", z, z))
            z *= (radius / np.maximum(length, radius))[:, None]
            share = responsible[used, number] * own[used]
            mass[number] += share.sum()
            first[number] += share @ z
            second[number] += (z * share[:, None]).T @ z
    i, j = np.triu_indices(d)
    flat = second[:, i, j] * np.where(i == j, 1.0, math.sqrt(2))
    return BoundedSums(mass * SHARES[0], first * (SHARES[1] / radius), flat * (SHARES[2] / radius**2))


@dataclass(frozen=True)
class Fit:
    """State of EM on noisy sums.

    Attributes:
        mixture: the current one.
        mass: (K,) rows of each component, mean over the averaged steps.
        first: (K, d) sums of rows, averaged in the same way.
        second: (K, d, d) sums of outer products, averaged in the same way.
        averaged: number of averaged steps.
    """

    mixture: Mixture
    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray
    averaged: int

    @classmethod
    def begun(cls, mixture: Mixture) -> Fit:
        """Before the first step."""
        k, d = mixture.means.shape
        return cls(mixture, np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)), 0)


def components_for(units: float, deviation: float, dim: int, most: int) -> int:
    """Number of components that so many units can support under noise of this standard deviation: a power of two.

    >>> [components_for(units, 10.0, 10, 64) for units in (100, 10_000, 40_000, 1_000_000)]
    [1, 8, 32, 64]
    """
    radius = radius_for(dim, noise=True)
    noise = deviation * radius**2 / (SHARES[2] * kept_variance(dim, radius))
    count = 1
    while 2 * count <= most and 2 * count * noise <= _MOST_RELATIVE_NOISE * units:
        count *= 2
    return count if noise else most


def next_fit(fit: Fit, sums: BoundedSums, radius: float, deviation: float, average: bool) -> Fit:
    """The M-step from noisy sums.

    In a component's own coordinates its mean and covariance move from 0 and the identity towards the values in the
    sums; the more noise, the smaller the move. Averaged steps (online EM: Cappe and Moulines 2009) have equal weight,
    so their noise falls. A component with no more mass than noise alone could give stays unchanged.

    Args:
        fit: state before the step.
        sums: sums of all sites for the mixture of ``fit``.
        radius: R of these sums.
        deviation: standard deviation of the noise on each entry.
        average: True to average the sums with those of earlier steps, False to replace them.
    """
    mixture = fit.mixture
    k, d = mixture.means.shape
    kept = kept_variance(d, radius)
    noise = [deviation * radius**power / share for power, share in enumerate(SHARES)]
    mass = sums.mass / SHARES[0]
    held = np.maximum(mass, max(_DEAD, noise[0]))
    step = sums.first * (radius / SHARES[1]) / held[:, None]
    step = step / (1 + np.square(noise[1] / held))[:, None]
    i, j = np.triu_indices(d)
    flat = sums.second * (radius**2 / (SHARES[2] * kept)) / np.where(i == j, 1.0, math.sqrt(2))
    shape = np.empty((k, d, d))
    shape[:, i, j] = shape[:, j, i] = flat / held[:, None]
    identity = np.eye(d)
    part = 1 / (1 + np.square(noise[2] / (kept * held * _SPREAD)))
    shape = identity + (shape - identity) * part[:, None, None]
    root = np.linalg.cholesky(mixture.covariances)
    shift = np.einsum("kij,kj->ki", root, step)
    spread = np.einsum("kij,kjl,kml->kim", root, shape, root)
    means = mixture.means
    first = held[:, None] * (means + shift)
    outer = np.einsum("ki,kj->kij", means, means) + np.einsum("ki,kj->kij", shift, means)
    second = held[:, None, None] * (spread + outer + np.einsum("ki,kj->kij", means, shift))
    weight = 1 / (fit.averaged + 1) if average else 1.0
    joined = Fit(
        mixture,
        fit.mass + weight * (mass - fit.mass),
        fit.first + weight * (first - fit.first),
        fit.second + weight * (second - fit.second),
        fit.averaged + 1 if average else 0,
    )
    return replace(joined, mixture=_maximised(joined, least_mass(deviation)))


def least_mass(deviation: float) -> float:
    """Least noisy mass of a plausible component, in rows, under noise of this standard deviation."""
    return max(_DEAD, 2 * deviation / SHARES[0])


def _maximised(fit: Fit, least: float) -> Mixture:
    """The mixture from these sums; components with less than ``least`` rows stay unchanged."""
    d = fit.first.shape[1]
    held = np.maximum(fit.mass, _DEAD)
    live = fit.mass > least
    means = np.where(live[:, None], fit.first / held[:, None], fit.mixture.means)
    found = fit.second / held[:, None, None] - np.einsum("ki,kj->kij", means, means)
    found = (held[:, None, None] * found + _PRIOR_ROWS * _PRIOR_VARIANCE * np.eye(d)) / (
        held[:, None, None] + _PRIOR_ROWS
    )
    before = fit.mixture.covariances - LEAST_VARIANCE * np.eye(d)
    values, vectors = np.linalg.eigh(np.where(live[:, None, None], found, before))
    values = np.clip(values, 0.0, CUT**2)
    covariances = np.einsum("kij,kj,klj->kil", vectors, values, vectors) + LEAST_VARIANCE * np.eye(d)
    covariances = (covariances + np.swapaxes(covariances, 1, 2)) / 2
    weights = np.maximum(fit.mass, 0.0) + 1
    return Mixture(weights / weights.sum(), np.clip(means, -CUT, CUT), covariances)
