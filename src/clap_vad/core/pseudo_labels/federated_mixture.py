"""Federated two-component Gaussian mixture of pairs: EM on sums over all sites.

EM needs its data only through sums (Dempster, Laird and Rubin 1977, section 2). From the same start and with the same
steps, sites that sum their own pairs obtain the parameters of ``sklearn.mixture.GaussianMixture`` (full covariance) on
the pooled pairs. R starts run in parallel: every array below has a leading axis of length R.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

__all__ = [
    "MAX_STEPS",
    "STARTS",
    "Fit",
    "Mixtures",
    "PairMoments",
    "Statistics",
    "advance",
    "begin",
    "best",
    "expectation",
    "finished",
    "in_anomalous_component",
    "maximise",
    "normal_component",
    "responsibilities",
    "standardisation",
    "starts",
]

MAX_STEPS = 150
_TOLERANCE = 1e-3
_REGULARISATION = 1e-6
"""scikit-learn's stopping tolerance (change of the mean log likelihood) and regularisation (added to each variance)."""

_SIGNED_DIRECTIONS, _MINORITY = 8, 0.2
_BALANCED_DIRECTIONS = 4
_BETWEEN = 0.8
"""Standard deviation between the components of a start that splits along a direction; the total is 1."""
_CORE_VARIANCE = 0.25
STARTS = _SIGNED_DIRECTIONS + _BALANCED_DIRECTIONS + 1
"""R of a fit; fixed, so that message sizes are constant."""

_EQUAL = 1e-9


@dataclass(frozen=True)
class PairMoments:
    """Count, sum and sum of outer products of pairs; ``a + b`` describes the union of both sets.

    Attributes:
        count: number of pairs.
        sum: (2,) float64.
        outer: (2, 2) float64, ``sum_v x_v x_v^T``.

    >>> (PairMoments.of(np.ones((3, 2))) + PairMoments.of(np.zeros((1, 2)))).outer.tolist()
    [[3.0, 3.0], [3.0, 3.0]]
    """

    count: int
    sum: np.ndarray
    outer: np.ndarray

    @classmethod
    def of(cls, pairs: np.ndarray) -> PairMoments:
        """Moments of (V, 2) pairs."""
        return cls(len(pairs), pairs.sum(axis=0), np.einsum("vi,vj->ij", pairs, pairs))

    @classmethod
    def total(cls, parts: Iterable[PairMoments]) -> PairMoments:
        """Sum of the parts, in their order."""
        return reduce(PairMoments.__add__, parts, cls(0, np.zeros(2), np.zeros((2, 2))))

    def __add__(self, other: PairMoments) -> PairMoments:
        return PairMoments(self.count + other.count, self.sum + other.sum, self.outer + other.outer)


@dataclass(frozen=True)
class Mixtures:
    """R mixtures of two Gaussians of pairs.

    Attributes:
        weights: (R, 2) float64, rows sum to 1.
        means: (R, 2, 2) float64, restart x component x entry.
        covariances: (R, 2, 2, 2) float64.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def sound(self) -> np.ndarray:
        """(R,) bool: finite, no negative weight, positive definite covariances."""
        finite = np.isfinite(self.weights).all(axis=1) & np.isfinite(self.means).all(axis=(1, 2))
        finite &= np.isfinite(self.covariances).all(axis=(1, 2, 3))
        return np.array([ok and _has_root(c) for ok, c in zip(finite, self.covariances, strict=True)]) & (
            self.weights >= 0
        ).all(axis=1)

    def possible(self, restarts: int) -> bool:
        """Whether these are ``restarts`` mixtures, all sound."""
        arrays = (self.weights, self.means, self.covariances)
        shapes = [(restarts, 2), (restarts, 2, 2), (restarts, 2, 2, 2)]
        return [array.shape for array in arrays] == shapes and bool(self.sound().all())


@dataclass(frozen=True)
class Statistics:
    """Sums over pairs for an EM step, with r the responsibility of a component; ``a + b`` adds sites.

    Deviations are taken from the component's current mean, so a distant mean causes no cancellation.

    Attributes:
        responsibility: (R, 2) ``sum_v r``.
        sum: (R, 2, 2) ``sum_v r (x - mean)``.
        outer: (R, 2, 2, 2) ``sum_v r (x - mean) (x - mean)^T``.
        likelihood: (R,) ``sum_v log p(x)``.
    """

    responsibility: np.ndarray
    sum: np.ndarray
    outer: np.ndarray
    likelihood: np.ndarray

    @classmethod
    def total(cls, parts: Iterable[Statistics]) -> Statistics:
        """Sum of one part or more, in their order."""
        return reduce(Statistics.__add__, parts)

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics(
            self.responsibility + other.responsibility,
            self.sum + other.sum,
            self.outer + other.outer,
            self.likelihood + other.likelihood,
        )


@dataclass(frozen=True)
class Fit:
    """State of a fit.

    Attributes:
        mixtures: current parameters.
        bound: (R,) mean log likelihood per pair in the last step, -inf before the first.
        converged: (R,) bool; converged starts keep their parameters.
        step: number of steps done.
    """

    mixtures: Mixtures
    bound: np.ndarray
    converged: np.ndarray
    step: int = 0


def standardisation(moments: PairMoments) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale that make each entry's mean 0 and its standard deviation (ddof 0) 1.

    Returns:
        (mean (2,), scale (2,)) float64; scale 0 for a constant entry (standard deviation below 1e-6 of the mean's
        size), which carries no information.

    >>> mean, scale = standardisation(PairMoments.of(np.array([[1.0, 7.0], [3.0, 7.0]])))
    >>> mean.tolist(), scale.tolist()
    ([2.0, 7.0], [1.0, 0.0])
    """
    n = max(moments.count, 1)
    mean = moments.sum / n
    std = np.sqrt(np.maximum(np.diag(moments.outer) / n - np.square(mean), 0.0))
    floor = 1e-6 * np.maximum(np.abs(mean), 1e-6)
    return mean, np.where(std > floor, 1.0 / np.maximum(std, floor), 0.0)


def starts(moments: PairMoments) -> Mixtures:
    """Starts of EM for standardised pairs: mixtures with the mean and covariance of all pairs.

    8 starts separate a minority of one fifth in eight directions, 4 split the distribution in halves, and one has a
    narrow core and a wide rest with the same mean. They are broad, so none starts on a few nearly equal pairs, where
    the likelihood has spurious peaks. The starts are deterministic, so labels do not depend on the run's seed; the
    paper's mixture always uses seed 0, too.

    >>> mixtures = starts(PairMoments.of(np.random.default_rng(0).normal(3, 2, (50, 2))))
    >>> bool(np.allclose(np.einsum("rk,rki->ri", mixtures.weights, mixtures.means), 0))
    True
    """
    mean, scale = standardisation(moments)
    covariance = (moments.outer / max(moments.count, 1) - np.outer(mean, mean)) * np.outer(scale, scale)
    rho = float(np.clip(covariance[0, 1], -1.0, 1.0))
    diagonal, off = (math.sqrt(1 + rho) + math.sqrt(1 - rho)) / 2, (math.sqrt(1 + rho) - math.sqrt(1 - rho)) / 2
    # The symmetric root of the correlation matrix maps directions of independent pairs to directions of these pairs.
    root = np.where(np.eye(2, dtype=bool), np.diag(diagonal * (scale > 0)), off)
    weights, means, covariances = [], [], []
    for directions, turn, minority in (
        (_SIGNED_DIRECTIONS, 2 * math.pi, _MINORITY),
        (_BALANCED_DIRECTIONS, math.pi, 0.5),
    ):
        apart = _BETWEEN / math.sqrt(minority * (1 - minority))
        for number in range(directions):
            angle = turn * number / directions
            u = np.array([math.cos(angle), math.sin(angle)])
            weights.append([1 - minority, minority])
            means.append([-minority * apart * root @ u, (1 - minority) * apart * root @ u])
            covariances.append([root @ (np.eye(2) - _BETWEEN**2 * np.outer(u, u)) @ root] * 2)
    rest = (1 - (1 - _MINORITY) * _CORE_VARIANCE) / _MINORITY
    weights.append([1 - _MINORITY, _MINORITY])
    means.append([np.zeros(2)] * 2)
    covariances.append([_CORE_VARIANCE * root @ root, rest * root @ root])
    return Mixtures(np.array(weights), np.array(means), np.array(covariances) + _REGULARISATION * np.eye(2))


def begin(moments: PairMoments) -> Fit:
    """A fit before its first step.

    If there is nothing to split (no pair, one pair, or equal pairs), it is already finished: the first component has
    all the weight.
    """
    if moments.count > 1 and standardisation(moments)[1].any():
        return Fit(starts(moments), np.full(STARTS, -np.inf), np.zeros(STARTS, dtype=bool))
    whole = Mixtures(np.tile([1.0, 0.0], (STARTS, 1)), np.zeros((STARTS, 2, 2)), np.tile(np.eye(2), (STARTS, 2, 1, 1)))
    return Fit(whole, np.full(STARTS, -np.inf), np.ones(STARTS, dtype=bool))


def expectation(z: np.ndarray, mixtures: Mixtures) -> Statistics:
    """E-step: sums over (V, 2) standardised pairs, zeros if V is 0."""
    deviation, responsibility, total = _posteriors(z, mixtures)
    weighted = responsibility[..., None] * deviation
    return Statistics(
        responsibility.sum(axis=2),
        weighted.sum(axis=2),
        np.einsum("rkvi,rkvj->rkij", weighted, deviation),
        total.sum(axis=1),
    )


def responsibilities(z: np.ndarray, mixture: Mixtures) -> np.ndarray:
    """Responsibilities (V, 2) of one mixture (R = 1) for (V, 2) pairs; rows sum to 1."""
    return np.asarray(_posteriors(z, mixture)[1][0].T)


def _posteriors(z: np.ndarray, mixtures: Mixtures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deviations from the means (R, 2, V, 2), responsibilities (R, 2, V), log densities (R, V)."""
    deviation = z[None, None] - mixtures.means[:, :, None]
    log = _log_joint(deviation, mixtures)
    total = np.logaddexp(log[:, 0], log[:, 1])
    return deviation, np.exp(log - total[:, None]), total


def maximise(mixtures: Mixtures, statistics: Statistics) -> Mixtures:
    """M-step: scikit-learn's formulas, applied to sums of deviations from the means of ``mixtures``.

    As in scikit-learn, an empty component gets nearly no weight, mean 0, and the regularisation as covariance.
    """
    total = statistics.responsibility + 10 * np.finfo(np.float64).eps
    means = (statistics.sum + statistics.responsibility[..., None] * mixtures.means) / total[..., None]
    shift = means - mixtures.means
    cross = shift[..., :, None] * statistics.sum[..., None, :]
    square = shift[..., :, None] * shift[..., None, :] * statistics.responsibility[..., None, None]
    scatter = statistics.outer - cross - np.swapaxes(cross, -1, -2) + square
    covariances = scatter / total[..., None, None] + _REGULARISATION * np.eye(2)
    return Mixtures(total / total.sum(axis=1, keepdims=True), means, covariances)


def advance(fit: Fit, statistics: Statistics) -> Fit:
    """Advance each start that has not converged by one step.

    Every start's bound is updated, so all are compared on the pairs of the same step. A step without pairs counts but
    changes nothing. A start is abandoned if fixed-point sums give an invalid mixture, as they can for a nearly empty
    component: it keeps its parameters, and its bound becomes -inf. If all starts would be abandoned in one step, the
    fit ends with the parameters and bounds before that step.
    """
    count = statistics.responsibility.sum(axis=1)
    if not count.any():
        return replace(fit, step=fit.step + 1)
    old, new = fit.mixtures, maximise(fit.mixtures, statistics)
    given_up = np.where(fit.converged, np.isneginf(fit.bound), ~new.sound())
    if given_up.all():
        return Fit(old, fit.bound, np.ones(STARTS, dtype=bool), fit.step + 1)
    bound = np.where(given_up, -np.inf, statistics.likelihood / np.maximum(count, _EQUAL))
    kept = fit.converged | given_up
    moved = Mixtures(
        np.where(kept[:, None], old.weights, new.weights),
        np.where(kept[:, None, None], old.means, new.means),
        np.where(kept[:, None, None, None], old.covariances, new.covariances),
    )
    with np.errstate(invalid="ignore"):  # -inf - -inf for a start abandoned in its first step
        return Fit(moved, bound, kept | (np.abs(bound - fit.bound) < _TOLERANCE), fit.step + 1)


def finished(fit: Fit) -> bool:
    """Whether every start has converged, or 150 steps are done."""
    return bool(fit.converged.all()) or fit.step >= MAX_STEPS


def best(fit: Fit) -> Mixtures:
    """The mixture (R = 1) of the start with the largest likelihood (the first one on ties)."""
    at = int(np.argmax(fit.bound))
    mixtures = fit.mixtures
    return Mixtures(mixtures.weights[at : at + 1], mixtures.means[at : at + 1], mixtures.covariances[at : at + 1])


def normal_component(mixture: Mixtures, count: int, rule: str = "size") -> int:
    """Index of the normal component of one mixture, from its parameters alone.

    Args:
        mixture: R = 1, of pairs whose first entry is the largest rise.
        count: number of all pairs.
        rule: ``size``: the component with more weight; ``calm``: the one with the smaller mean rise, if both contain a
            video and their rises differ. Components of equal weight are compared by their rises too.

    >>> both = np.tile(np.eye(2), (1, 2, 1, 1))
    >>> mixture = Mixtures(np.array([[0.3, 0.7]]), np.array([[[-1.0, 0.0], [1.0, 0.0]]]), both)
    >>> normal_component(mixture, 10, "size"), normal_component(mixture, 10, "calm")
    (1, 0)
    """
    weights, rises = mixture.weights[0], mixture.means[0, :, 0]
    equal_weights, equal_rises = abs(weights[0] - weights[1]) <= _EQUAL, abs(rises[0] - rises[1]) <= _EQUAL
    by_rise = equal_weights or (rule == "calm" and weights.min() * count >= 0.5)
    return int(np.argmin(rises)) if by_rise and not equal_rises else int(np.argmax(weights))


def in_anomalous_component(z: np.ndarray, mixture: Mixtures, normal: int) -> np.ndarray:
    """(V,) bool: which of (V, 2) standardised pairs are more likely anomalous than normal."""
    log = _log_joint(z[None, None] - mixture.means[:, :, None], mixture)[0]
    return np.asarray(log[1 - normal] > log[normal])


def _log_joint(deviation: np.ndarray, mixtures: Mixtures) -> np.ndarray:
    """(R, 2, V) ln(weight * density), from the Cholesky factor of each covariance."""
    factor = np.linalg.cholesky(mixtures.covariances)[:, :, None]
    first = deviation[..., 0] / factor[..., 0, 0]
    second = (deviation[..., 1] - factor[..., 1, 0] * first) / factor[..., 1, 1]
    with np.errstate(divide="ignore"):  # a component without weight: -inf
        weight = np.log(mixtures.weights)[:, :, None]
    determinant = np.log(factor[..., 0, 0]) + np.log(factor[..., 1, 1])
    density = -0.5 * (np.square(first) + np.square(second)) - determinant - math.log(2 * math.pi)
    return np.asarray(weight + density)


def _has_root(covariances: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        return False
    return True
