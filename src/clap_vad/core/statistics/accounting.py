"""Privacy accounting: epsilon of everything that a run under differential privacy releases.

Every release is a Gaussian mechanism: a sum over units of contributions with L2 norm at most 1, plus noise whose
standard deviation is the noise multiplier. Training releases sums over a Poisson sample of the units. Releases are
composed by privacy loss distributions (Koskela et al. 2020; Doroshenko et al. 2022) with ``dp-accounting``, for
neighbours that differ by one unit added or removed. The result is an upper bound, tight to four digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ...errors import ClapError

__all__ = ["UNITS", "Release", "Terms", "calibrated", "epsilon_of", "epsilon_of_releases"]

UNITS = ("crop", "video")
"""Privacy units: ``crop`` (one region during one segment) or ``video``."""

_INTERVAL = 1e-3
"""Step of the discretised privacy loss, rounded up: a thousand times faster than finer steps, for 0.1 % of epsilon."""
_STATISTICS_SHARE = 0.25
"""Share of epsilon that all statistics before and after training would cost alone."""
_DIGITS = 4
_MOST_EPSILON, _MOST_DELTA, _MOST_RELEASES = 100, 1e-3, 100_000
"""Upper limits: beyond them the guarantee is meaningless, and accounting takes unlimited memory."""
_LEAST_NOISE, _MOST_NOISE = 0.05, 1e6
_MOST_LOSS = 1000.0
"""Upper limit of the composed mean privacy loss: the guarantee is lost long before, and accounting takes memory."""


@dataclass(frozen=True)
class Terms:
    """Privacy guarantee of a run, and the noise that ensures it.

    Attributes:
        epsilon, delta: guarantee of the whole run, for one unit added to or removed from one participant. ``epsilon``
            None means no noise and no guarantee: a run for comparison.
        clip: C, largest L2 norm of a unit's gradient.
        sampling: q, probability that a unit takes part in a round.
        lr: learning rate of a round's step.
        statistics: number of releases of statistics.
        rounds: number of releases of gradients.
        spare: number of extra releases of each kind: an interrupted secure sum is repeated with new noise.
        noise_statistics, noise_training: noise multipliers.
        seed: seed of all noise, for reproducible experiments; whoever knows it can remove the noise. None draws the
            noise from a secret.
        unit: privacy unit: ``video``, or ``crop`` for one region (a person or a grid cell) during one segment.

    Raises:
        ClapError: a number out of range.
    """

    epsilon: float | None
    delta: float
    clip: float
    sampling: float
    lr: float
    statistics: int
    rounds: int
    spare: int
    noise_statistics: float
    noise_training: float
    seed: int | None = None
    unit: str = "video"

    def __post_init__(self) -> None:
        numbers = (self.statistics, self.rounds, self.spare)
        if self.unit not in UNITS:
            raise ClapError(f"--dp is {self.unit!r}; give one of {', '.join(UNITS)}")
        if any(type(number) is not int for number in numbers) or max(numbers) > _MOST_RELEASES:
            raise ClapError(f"a run under differential privacy has at most {_MOST_RELEASES} releases of a kind")
        if self.epsilon is not None and not 0 < self.epsilon <= _MOST_EPSILON:
            raise ClapError(
                f"--epsilon is {self.epsilon}; give a number above 0 and up to {_MOST_EPSILON}, or inf for no noise"
            )
        if not 0 < self.delta <= _MOST_DELTA:
            raise ClapError(
                f"--delta is {self.delta}; give a number above 0 and at most {_MOST_DELTA}: it is the probability that "
                "the guarantee fails"
            )
        if not 0 < self.clip < math.inf:
            raise ClapError(f"--dp-clip is {self.clip}; give a number above 0")
        if not 0 < self.lr < math.inf:
            raise ClapError(f"--dp-lr is {self.lr}; give a number above 0")
        if not 0 < self.sampling <= 1:
            raise ClapError(f"--dp-sampling is {self.sampling}; give a number above 0 and at most 1")
        if min(self.statistics, self.rounds) < 1 or self.spare < 0:
            raise ClapError("a run under differential privacy needs at least one statistic and one round")
        noise = (self.noise_statistics, self.noise_training)
        if not all(0 <= multiplier <= _MOST_NOISE for multiplier in noise) or (self.epsilon is not None and 0 in noise):
            raise ClapError(f"noise multipliers {noise} ensure no guarantee")


def epsilon_of(terms: Terms, statistics: int | None = None, rounds: int | None = None) -> float:
    """Epsilon, at the terms' delta, of this many releases; None means all that the terms allow.

    Returns:
        An upper bound; infinity if there is no noise, or too little for any epsilon up to 100.

    >>> terms = Terms(None, 1e-5, 1.0, 0.3, 0.1, 12, 200, 0, 5.0, 4.0)
    >>> round(epsilon_of(terms), 2), round(epsilon_of(terms, rounds=0), 2), epsilon_of(terms, 0, 0)
    (5.91, 2.88, 0.0)
    """
    if terms.epsilon is not None and min(terms.noise_statistics, terms.noise_training) < _LEAST_NOISE:
        return math.inf
    statistics = terms.statistics + terms.spare if statistics is None else statistics
    rounds = terms.rounds + terms.spare if rounds is None else rounds
    return _epsilon(terms.delta, terms.sampling, (terms.noise_statistics, statistics), (terms.noise_training, rounds))


def _epsilon(delta: float, sampling: float, statistics: tuple[float, int], training: tuple[float, int]) -> float:
    if any(times and not noise for noise, times in (statistics, training)):
        return math.inf
    parts = ((statistics, 1.0), (training, sampling))
    if math.fsum(times * _mean_loss(Release(noise, part)) for (noise, times), part in parts if times) > _MOST_LOSS:
        return math.inf  # a limit on time and memory: a site computes this for terms that it receives
    # Imported here: it takes two seconds, and only runs under differential privacy need it.
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=_INTERVAL)
    if statistics[1]:
        accountant.compose(dp_event.GaussianDpEvent(statistics[0]), statistics[1])
    if training[1]:
        sampled = dp_event.PoissonSampledDpEvent(sampling, dp_event.GaussianDpEvent(training[0]))
        accountant.compose(sampled, training[1])
    return float(accountant.get_epsilon(delta))


def calibrated(
    epsilon: float,
    delta: float,
    *,
    clip: float,
    sampling: float,
    lr: float,
    statistics: int,
    rounds: int,
    spare: int = 0,
    seed: int | None = None,
    unit: str = "video",
) -> Terms:
    """The terms with the least noise that ensures the guarantee.

    The statistics alone may cost a quarter of epsilon; statistics and rounds together cost all of it.

    Args:
        epsilon: infinity for no noise.
        delta, clip, sampling, lr, statistics, rounds, spare, seed, unit: as in :class:`Terms`.

    Raises:
        ClapError: a number out of range.

    >>> terms = calibrated(2.0, 1e-5, clip=1.0, sampling=0.5, lr=0.1, statistics=10, rounds=100)
    >>> 1.99 < epsilon_of(terms) <= 2.0
    True
    """
    if epsilon == math.inf:
        return Terms(None, delta, clip, sampling, lr, statistics, rounds, spare, 0.0, 0.0, seed, unit)
    Terms(epsilon, delta, clip, sampling, lr, statistics, rounds, spare, 1.0, 1.0)  # checks the ranges
    times, repeats = statistics + spare, rounds + spare
    share = _STATISTICS_SHARE * epsilon
    alone = _least_noise(lambda noise: _epsilon(delta, sampling, (noise, times), (0.0, 0)), share)
    whole = _least_noise(lambda noise: _epsilon(delta, sampling, (alone, times), (noise, repeats)), epsilon)
    return Terms(epsilon, delta, clip, sampling, lr, statistics, rounds, spare, alone, whole, seed, unit)


def _least_noise(cost: Callable[[float], float], budget: float) -> float:
    """The smallest multiplier, to four digits, whose cost is within the budget; more noise costs less."""
    high = 1.0
    while cost(high) > budget:
        high *= 2
        if high > _MOST_NOISE:
            raise ClapError(
                f"no noise ensures this guarantee (epsilon {budget:.3g} for a part of the run); raise --epsilon"
            )
    low = high / 2
    while cost(low) <= budget:
        high, low = low, low / 2
    while high - low > 10.0**-_DIGITS * high:
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) > budget else (low, middle)
    digit = 10.0 ** (math.floor(math.log10(high)) - _DIGITS)
    return math.ceil(high / digit) * digit


@dataclass(frozen=True, order=True)
class Release:
    """One Gaussian mechanism.

    Attributes:
        noise: noise multiplier: standard deviation relative to the L2 norm of one contribution, above 0.
        sampling: probability that a contribution takes part; 1 for all.
    """

    noise: float
    sampling: float = 1.0


def epsilon_of_releases(releases: Mapping[Release, int], delta: float) -> float:
    """Epsilon, at this delta, of all these releases together, across runs.

    Args:
        releases: how often each release was made.
        delta: delta of the guarantee.

    Returns:
        An upper bound; infinity if there is too little noise for a guarantee.

    >>> one, other = Terms(None, 1e-5, 1.0, 0.3, 0.1, 12, 200, 0, 5.0, 4.0), Release(4.0, 0.3)
    >>> round(epsilon_of_releases({Release(5.0): 12, other: 200}, 1e-5), 2) == round(epsilon_of(one), 2)
    True
    >>> epsilon_of_releases({}, 1e-5)
    0.0
    """
    return _epsilon_of_releases(tuple(sorted((one, times) for one, times in releases.items() if times)), delta)


@lru_cache(maxsize=256)
def _epsilon_of_releases(releases: tuple[tuple[Release, int], ...], delta: float) -> float:
    if any(one.noise < _LEAST_NOISE for one, _ in releases):
        return math.inf
    # Gaussian mechanisms without sampling compose exactly to one: their squared ratios of norm to noise add up.
    squares = math.fsum(times / one.noise**2 for one, times in releases if one.sampling == 1)
    sampled = [(one, times) for one, times in releases if one.sampling < 1]
    if squares * _LEAST_NOISE**2 > 1 or math.fsum(times * _mean_loss(one) for one, times in sampled) > _MOST_LOSS:
        return math.inf
    # Imported here: see above.
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=_INTERVAL)
    if squares:
        accountant.compose(dp_event.GaussianDpEvent(1 / math.sqrt(squares)))
    for one, times in sampled:
        accountant.compose(dp_event.PoissonSampledDpEvent(one.sampling, dp_event.GaussianDpEvent(one.noise)), times)
    return float(accountant.get_epsilon(delta))


def _mean_loss(one: Release) -> float:
    """An upper bound on the mean privacy loss of a sampled release, by convexity of the Kullback-Leibler divergence."""
    return one.sampling / (2 * one.noise**2)
