"""Gaussian mixture: its density, the start of EM, and its adaptation to one camera.

Sites fit it together on bounded, noisy sums (:mod:`clap_vad.core.density.bounded_density`). Adaptation is maximum a
posteriori EM (Dempster, Laird and Rubin 1977; Gauvain and Lee, IEEE Trans. Speech and Audio Processing 1994) with the
common mixture as the prior; its sums never leave the site.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = [
    "COMPONENTS",
    "CUT",
    "LEAST_VARIANCE",
    "Mixture",
    "MixtureSums",
    "adapted",
    "expectation",
    "posteriors",
    "reseeded",
    "row_blocks",
    "starting_mixture",
    "triangle",
]

COMPONENTS = 64
"""K of a common density; fixed, so that message sizes are constant."""

LEAST_VARIANCE = 0.02
"""Added to every variance of standardised features, so a component's standard deviation is at least 0.14."""

CUT = 15.0
"""Numbers of a row are clipped to this many standard deviations."""

_APART = 0.7  # standard deviations, between the halves of a component that is split
_BLOCK_ROWS = 4096
_LARGEST = 1e6  # far above standardised features, clipped to 15; squares of much larger numbers would overflow


@dataclass(frozen=True)
class Mixture:
    """K Gaussians in d dimensions.

    Attributes:
        weights: (K,) float64, sum 1.
        means: (K, d) float64.
        covariances: (K, d, d) float64, symmetric, positive definite.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def dim(self) -> int:
        """d."""
        return int(self.means.shape[1])

    def sound(self, least_variance: float = LEAST_VARIANCE) -> bool:
        """Whether it is a valid density: float64, matching shapes, no huge number, weights that sum to 1, and at least
        this variance in every direction.

        >>> Mixture(np.ones(1), np.zeros((1, 2)), np.zeros((1, 2, 2))).sound()
        False
        """
        k, d = self.means.shape if self.means.ndim == 2 else (0, 0)
        if k < 1 or d < 1 or self.weights.shape != (k,) or self.covariances.shape != (k, d, d):
            return False
        parts = (self.weights, self.means, self.covariances)
        if not all(a.dtype == np.float64 and (np.abs(a) <= _LARGEST).all() for a in parts):  # NaN is not <= either
            return False
        if (self.weights < 0).any() or abs(self.weights.sum() - 1) > 1e-6:
            return False
        if not np.allclose(self.covariances, np.swapaxes(self.covariances, 1, 2), atol=1e-9):
            return False
        return bool(np.linalg.eigvalsh(self.covariances).min() >= least_variance * (1 - 1e-6))

    def possible(self) -> bool:
        """Whether an EM step on standardised rows (clipped to 15 deviations) can give it: sound, and means and
        variances within the range of such rows.
        """
        if not self.sound():
            return False
        widest = np.linalg.eigvalsh(self.covariances).max()
        return bool(np.abs(self.means).max() <= CUT and widest <= CUT**2 * (1 + 1e-6) + LEAST_VARIANCE)

    def in_use(self) -> Mixture:
        """The mixture without components of weight 0."""
        used = self.weights > 0
        return Mixture(self.weights[used], self.means[used], self.covariances[used])

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random rows from this density, clipped like standardised rows, (count, d) float32."""
        which = rng.choice(len(self.weights), count, p=self.weights)
        roots = np.linalg.cholesky(self.covariances)
        rows = self.means[which] + np.einsum("nij,nj->ni", roots[which], rng.standard_normal((count, self.dim)))
        return np.clip(rows, -CUT, CUT).astype(np.float32)

    def log_density(self, rows: np.ndarray) -> np.ndarray:
        """ln p of (n, d) rows, (n,) float64, computed in blocks of bounded size.

        >>> one = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
        >>> bool(np.isclose(one.log_density(np.zeros((1, 2)))[0], -math.log(2 * math.pi)))
        True
        """
        parts = [_normalised(self, block)[1] for _, block in row_blocks(rows)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def marginal(self, columns: Sequence[int] | np.ndarray) -> Mixture:
        """The marginal density of these dimensions."""
        at = np.asarray(columns)
        return Mixture(self.weights, self.means[:, at], self.covariances[:, at][:, :, at])

    @cached_property
    def logarithm(self) -> np.ndarray:
        """(1 + d + d(d+1)/2, K) coefficients: a row's monomials times these give ln(weight * density)."""
        precision = np.linalg.inv(self.covariances)
        _, volume = np.linalg.slogdet(self.covariances)
        linear = np.einsum("kij,kj->ki", precision, self.means)
        with np.errstate(divide="ignore"):  # a component without weight: -inf
            constant = np.log(self.weights) - 0.5 * (self.dim * math.log(2 * math.pi) + volume)
        constant = constant - 0.5 * np.einsum("ki,ki->k", linear, self.means)
        i, j = np.triu_indices(self.dim)
        return np.concatenate([constant[:, None], linear, -precision[:, i, j] * np.where(i == j, 0.5, 1.0)], axis=1).T


@dataclass(frozen=True)
class MixtureSums:
    """Sums over rows for an EM step, with r the responsibility of a component.

    Attributes:
        mass: (K,) ``sum_n r``.
        sum: (K, d) ``sum_n r x``.
        outer: (K, d(d+1)/2) upper triangle of ``sum_n r x x^T``, row by row.
    """

    mass: np.ndarray
    sum: np.ndarray
    outer: np.ndarray


def triangle(d: int) -> int:
    """Entries of the upper triangle of a d x d matrix.

    >>> triangle(10)
    55
    """
    return d * (d + 1) // 2


def posteriors(mixture: Mixture, block: np.ndarray) -> np.ndarray:
    """Responsibility of each component for each of (n, d) rows, (n, K); rows sum to 1."""
    logs, each = _normalised(mixture, block)
    return np.asarray(np.exp(logs - each[:, None]))


def expectation(mixture: Mixture, rows: np.ndarray) -> MixtureSums:
    """E-step over (n, d) rows; zeros if n is 0."""
    k, d = mixture.means.shape
    total = np.zeros((k, 1 + d + triangle(d)))
    for _, block in row_blocks(rows):
        total += posteriors(mixture, block).T @ _monomials(block)
    return MixtureSums(total[:, 0], total[:, 1 : 1 + d], total[:, 1 + d :])


def starting_mixture(mean: np.ndarray, covariance: np.ndarray, components: int, rng: np.random.Generator) -> Mixture:
    """Start of EM: equal components with centres drawn from the Gaussian of all rows, so no single row is revealed.

    Args:
        mean, covariance: (d,) and (d, d) of all rows.
        components: K.
        rng: draws the centres.
    """
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
    centres = mean + rng.standard_normal((components, len(mean))) @ root.T
    spread = np.diag(0.5 * np.diag(covariance) + LEAST_VARIANCE)
    # Clipped like rows: a site refuses a density with centres beyond the clip, and the run would end.
    return Mixture(
        np.full(components, 1 / components), np.clip(centres, -CUT, CUT), np.tile(spread, (components, 1, 1))
    )


def reseeded(mixture: Mixture, mass: np.ndarray, least: float, rng: np.random.Generator) -> Mixture:
    """Move each component with fewer rows than ``least`` so that it splits one of the heaviest components in half.

    Args:
        mixture: after an M-step.
        mass: (K,) rows of each component in that step.
        least: rows.
        rng: draws the direction of the split.
    """
    dead = np.flatnonzero(mass < least)
    heaviest = np.argsort(-mass, kind="stable")[: len(dead)]
    weights, means, covariances = mixture.weights.copy(), mixture.means.copy(), mixture.covariances.copy()
    for to, origin in zip(dead, heaviest, strict=True):
        if mass[origin] < 2 * least:
            break
        step = _APART * np.linalg.cholesky(mixture.covariances[origin]) @ rng.standard_normal(mixture.dim)
        means[to] = np.clip(mixture.means[origin] + step, -CUT, CUT)
        means[origin] = np.clip(mixture.means[origin] - step, -CUT, CUT)
        covariances[to] = mixture.covariances[origin]
        weights[to] = weights[origin] = mixture.weights[origin] / 2
    return Mixture(weights / weights.sum(), means, covariances)


def adapted(mixture: Mixture, rows: np.ndarray, *, prior: float, weight_prior: float, steps: int) -> Mixture:
    """The mixture adapted to a camera with these rows, by maximum a posteriori EM.

    Each component counts as ``prior`` pseudo-rows with its mean and covariance; the weights count as ``weight_prior``
    pseudo-rows in all. Without rows the mixture stays unchanged.

    Args:
        mixture: the common one.
        rows: (n, d).
        prior, weight_prior: numbers of pseudo-rows.
        steps: EM steps.
    """
    i, j = np.triu_indices(mixture.dim)
    least = LEAST_VARIANCE * np.eye(mixture.dim)
    outer = (mixture.covariances - least + mixture.means[:, :, None] * mixture.means[:, None, :])[:, i, j]
    result = mixture
    for _ in range(steps if len(rows) else 0):
        own = expectation(result, rows)
        mass = own.mass + prior
        joined = MixtureSums(mass, own.sum + prior * mixture.means, own.outer + prior * outer)
        means, covariances = _moments(mass, joined)
        weights = own.mass + weight_prior * mixture.weights
        result = Mixture(weights / weights.sum(), means, covariances + least)
    return result


def _moments(mass: np.ndarray, sums: MixtureSums) -> tuple[np.ndarray, np.ndarray]:
    """Means (K, d) and covariances (K, d, d)."""
    means = sums.sum / mass[:, None]
    d = means.shape[1]
    i, j = np.triu_indices(d)
    second = np.empty((len(mass), d, d))
    second[:, i, j] = second[:, j, i] = sums.outer / mass[:, None]
    return means, second - means[:, :, None] * means[:, None, :]


def _normalised(mixture: Mixture, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln(weight * density) (n, K), and the ln of their sum (n,)."""
    logs = _monomials(block) @ mixture.logarithm
    top = logs.max(axis=1)
    return logs, top + np.log(np.exp(logs - top[:, None]).sum(axis=1))


def _monomials(block: np.ndarray) -> np.ndarray:
    """(n, 1 + d + d(d+1)/2): one, the entries, and their products."""
    i, j = np.triu_indices(block.shape[1])
    return np.concatenate([np.ones((len(block), 1)), block, block[:, i] * block[:, j]], axis=1)


def row_blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, float64 block) of (n, d) rows, in blocks of bounded size."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield start, rows[start : start + _BLOCK_ROWS].astype(np.float64)
