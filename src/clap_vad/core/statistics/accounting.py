"""What a run under differential privacy costs: one accountant over everything that is released.

Every release is a Gaussian mechanism: a sum over videos of contributions of L2 norm at most 1, and noise of so many
times that norm (the noise multiplier). Training releases sums over a Poisson sample of the videos. They are composed
by their privacy loss distributions (Koskela et al. 2020; Doroshenko et al. 2022) in ``dp-accounting``, for neighbours
that differ by one video added or removed. The result is an upper bound, tight to four digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ...errors import ClapError

__all__ = ["UNITS", "Release", "Terms", "calibrated", "epsilon_of", "epsilon_of_releases"]

UNITS = ("crop", "video")
"""What differential privacy can hide one of."""

_INTERVAL = 1e-3
"""Step of the discretised privacy loss, rounded up: a thousand times the speed of finer ones for 0.1 % of epsilon."""
_STATISTICS_SHARE = 0.25
"""Part of epsilon that all statistics before and after training would cost by themselves."""
_DIGITS = 4
_MOST_EPSILON, _MOST_DELTA, _MOST_RELEASES = 100, 1e-3, 100_000
"""Beyond these there is no promise to speak of, and accounts of it take memory without bound."""
_LEAST_NOISE, _MOST_NOISE = 0.05, 1e6
_MOST_LOSS = 1000.0
"""Of the mean of all releases that are composed; nothing is promised long before, and the account takes memory."""


@dataclass(frozen=True)
class Terms:
    """What a run under differential privacy promises, and the noise that keeps the promise.

    Attributes:
        epsilon, delta: of the whole run, for one unit added to or removed from one participant. None for no noise at
            all: a run to compare with, which promises nothing.
        clip: C, the largest L2 norm of a video's gradient.
        sampling: q, probability with which a video takes part in a round.
        lr: learning rate of the step that a round makes.
        statistics: releases of statistics.
        rounds: releases of gradients.
        spare: how many of either kind may be repeated: a secure sum that broke off has to be asked again, with new
            noise.
        noise_statistics, noise_training: noise multipliers.
        seed: draw all noise from this number, so that an experiment can be repeated; who knows it can take the noise
            off. None for noise from a secret.
        unit: what one may be added or removed of: ``video``, or ``crop``, a person or a place in the picture during
            one segment.

    Raises:
        ClapError: numbers outside their ranges.
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
            raise ClapError(f"--dp is {self.unit!r}; one of {', '.join(UNITS)} is needed")
        if any(type(number) is not int for number in numbers) or max(numbers) > _MOST_RELEASES:
            raise ClapError(f"a run under differential privacy has at most {_MOST_RELEASES} releases of a kind")
        if self.epsilon is not None and not 0 < self.epsilon <= _MOST_EPSILON:
            raise ClapError(
                f"--epsilon is {self.epsilon}; a number above 0 and up to {_MOST_EPSILON}, or inf for no noise"
            )
        if not 0 < self.delta <= _MOST_DELTA:
            raise ClapError(
                f"--delta is {self.delta}; a number above 0 and at most {_MOST_DELTA} is needed: it is the probability "
                "that the promise is broken"
            )
        if not 0 < self.clip < math.inf:
            raise ClapError(f"--dp-clip is {self.clip}; a number above 0 is needed")
        if not 0 < self.lr < math.inf:
            raise ClapError(f"--dp-lr is {self.lr}; a number above 0 is needed")
        if not 0 < self.sampling <= 1:
            raise ClapError(f"--dp-sampling is {self.sampling}; a number above 0 and at most 1 is needed")
        if min(self.statistics, self.rounds) < 1 or self.spare < 0:
            raise ClapError("a run under differential privacy has at least one statistic and one round")
        noise = (self.noise_statistics, self.noise_training)
        if not all(0 <= multiplier <= _MOST_NOISE for multiplier in noise) or (self.epsilon is not None and 0 in noise):
            raise ClapError(f"noise multipliers {noise} cannot keep a promise")


def epsilon_of(terms: Terms, statistics: int | None = None, rounds: int | None = None) -> float:
    """Epsilon, at the terms' delta, of so many releases; of all that the terms allow where no number is given.

    Returns:
        An upper bound; infinity where there is no noise, or so little that no epsilon up to 100 covers it.

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
        return math.inf  # a site works this out for terms that somebody else sends
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
    """The terms with the least noise that keeps the promise.

    The statistics alone are given a quarter of epsilon; the rounds what is then left of the whole, composed with them.

    Args:
        epsilon: infinity for no noise.
        delta, clip, sampling, lr, statistics, rounds, spare, seed, unit: as in :class:`Terms`.

    Raises:
        ClapError: numbers outside their ranges.

    >>> terms = calibrated(2.0, 1e-5, clip=1.0, sampling=0.5, lr=0.1, statistics=10, rounds=100)
    >>> 1.99 < epsilon_of(terms) <= 2.0
    True
    """
    if epsilon == math.inf:
        return Terms(None, delta, clip, sampling, lr, statistics, rounds, spare, 0.0, 0.0, seed, unit)
    Terms(epsilon, delta, clip, sampling, lr, statistics, rounds, spare, 1.0, 1.0)  # refuses what is out of range
    times, repeats = statistics + spare, rounds + spare
    share = _STATISTICS_SHARE * epsilon
    alone = _least_noise(lambda noise: _epsilon(delta, sampling, (noise, times), (0.0, 0)), share)
    whole = _least_noise(lambda noise: _epsilon(delta, sampling, (alone, times), (noise, repeats)), epsilon)
    return Terms(epsilon, delta, clip, sampling, lr, statistics, rounds, spare, alone, whole, seed, unit)


def _least_noise(cost: Callable[[float], float], budget: float) -> float:
    """The smallest multiplier, to four digits, whose cost is within the budget; the cost falls as noise grows."""
    high = 1.0
    while cost(high) > budget:
        high *= 2
        if high > _MOST_NOISE:
            raise ClapError(
                f"no noise keeps this promise (epsilon {budget:.3g} for a part of the run); raise --epsilon"
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
    """One Gaussian mechanism, as the accountant sees it.

    Attributes:
        noise: multiplier of the L2 norm of one contribution, above 0.
        sampling: probability with which a contribution takes part; 1 for all.
    """

    noise: float
    sampling: float = 1.0


def epsilon_of_releases(releases: Mapping[Release, int], delta: float) -> float:
    """Epsilon, at this delta, of all these releases together, whatever runs they were made in.

    Args:
        releases: how often each was made.
        delta: of the promise.

    Returns:
        An upper bound; infinity where there is so little noise that nothing is promised.

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
    # Gaussian mechanisms without sampling are together exactly one: their squared ratios of norm to noise add up.
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
    """An upper bound on the mean privacy loss of a sampled release: by convexity of the Kullback-Leibler divergence."""
    return one.sampling / (2 * one.noise**2)
