"""A mixture of many Gaussians: its density, where EM begins, and its adaptation to one place.

Sites fit it together on bounded, noisy sums (:mod:`clap_vad.core.density.bounded_density`). Adaptation to one place
needs its rows through sums (Dempster, Laird and Rubin 1977) that never leave it; it is the maximum a posteriori form
(Gauvain and Lee, IEEE Trans. Speech and Audio Processing 1994), the common mixture being the prior.
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
"""K of a common density; fixed, so that no message's size depends on anything."""

LEAST_VARIANCE = 0.02
"""Added to every variance: of standardised features, so a component is never narrower than a seventh of a deviation."""

CUT = 15.0
"""Standard deviations beyond which a number of a row counts as so many."""

_APART = 0.7  # standard deviations, between the halves of a component that is split
_BLOCK_ROWS = 4096
_LARGEST = 1e6  # of standardised features, cut at 15; squares of far larger numbers would overflow


@dataclass(frozen=True)
class Mixture:
    """K Gaussians of d dimensions.

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
        """Whether it is a density: float64 of shapes that fit, no number absurdly large, weights a distribution, no
        direction of less variance than that.

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
        """Whether a step of EM could have given it from standardised rows, which are cut at 15 deviations: sound, no
        mean beyond the cut, no variance wider than the cut allows.
        """
        if not self.sound():
            return False
        widest = np.linalg.eigvalsh(self.covariances).max()
        return bool(np.abs(self.means).max() <= CUT and widest <= CUT**2 * (1 + 1e-6) + LEAST_VARIANCE)

    def in_use(self) -> Mixture:
        """Without the components that have no weight."""
        used = self.weights > 0
        return Mixture(self.weights[used], self.means[used], self.covariances[used])

    def drawn(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """So many rows drawn from it, cut as standardised rows are, (count, d) float32."""
        which = rng.choice(len(self.weights), count, p=self.weights)
        roots = np.linalg.cholesky(self.covariances)
        rows = self.means[which] + np.einsum("nij,nj->ni", roots[which], rng.standard_normal((count, self.dim)))
        return np.clip(rows, -CUT, CUT).astype(np.float32)

    def log_density(self, rows: np.ndarray) -> np.ndarray:
        """ln p of (n, d) rows, (n,) float64, in blocks of bounded size.

        >>> one = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
        >>> bool(np.isclose(one.log_density(np.zeros((1, 2)))[0], -math.log(2 * math.pi)))
        True
        """
        parts = [_normalised(self, block)[1] for _, block in row_blocks(rows)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def marginal(self, columns: Sequence[int] | np.ndarray) -> Mixture:
        """The density of these dimensions alone, whatever the others are."""
        at = np.asarray(columns)
        return Mixture(self.weights, self.means[:, at], self.covariances[:, at][:, :, at])

    @cached_property
    def logarithm(self) -> np.ndarray:
        """(1 + d + d(d+1)/2, K): ln of weight times density is the monomials of a row times this."""
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
    """What a step needs of the rows, with r the responsibility of a component.

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
    """E-step over (n, d) rows; zeros for none of them."""
    k, d = mixture.means.shape
    total = np.zeros((k, 1 + d + triangle(d)))
    for _, block in row_blocks(rows):
        total += posteriors(mixture, block).T @ _monomials(block)
    return MixtureSums(total[:, 0], total[:, 1 : 1 + d], total[:, 1 + d :])


def starting_mixture(mean: np.ndarray, covariance: np.ndarray, components: int, rng: np.random.Generator) -> Mixture:
    """Where EM begins: equal components about centres drawn from the Gaussian of all rows, so that no row is shown.

    Args:
        mean, covariance: (d,) and (d, d) of all rows.
        components: K.
        rng: draws the centres.
    """
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(mean)))
    centres = mean + rng.standard_normal((components, len(mean))) @ root.T
    spread = np.diag(0.5 * np.diag(covariance) + LEAST_VARIANCE)
    # Not beyond where rows are cut: a site refuses such a density, and the run would end.
    return Mixture(
        np.full(components, 1 / components), np.clip(centres, -CUT, CUT), np.tile(spread, (components, 1, 1))
    )


def reseeded(mixture: Mixture, mass: np.ndarray, least: float, rng: np.random.Generator) -> Mixture:
    """Move components that hold fewer rows than ``least``: each to where it halves one of the heaviest.

    Args:
        mixture: after an M-step.
        mass: (K,) rows of each component in that step.
        least: rows.
        rng: draws the direction in which a component is halved.
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
    """The mixture adapted to a place that has these rows.

    Each component enters as ``prior`` rows of its own mean and covariance, and its weight as its part of
    ``weight_prior`` rows; without rows of one's own it stays what it is.

    Args:
        mixture: the common one.
        rows: (n, d).
        prior, weight_prior: pseudo-rows.
        steps: of EM.
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
    """ln of weight times density (n, K), and of their sum (n,)."""
    logs = _monomials(block) @ mixture.logarithm
    top = logs.max(axis=1)
    return logs, top + np.log(np.exp(logs - top[:, None]).sum(axis=1))


def _monomials(block: np.ndarray) -> np.ndarray:
    """(n, 1 + d + d(d+1)/2): one, the entries, their products."""
    i, j = np.triu_indices(block.shape[1])
    return np.concatenate([np.ones((len(block), 1)), block, block[:, i] * block[:, j]], axis=1)


def row_blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, float64 block) of (n, d) rows, in blocks of bounded size."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield start, rows[start : start + _BLOCK_ROWS].astype(np.float64)
