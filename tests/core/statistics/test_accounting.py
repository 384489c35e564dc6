"""What a run costs: against the analytic Gaussian mechanism, and against an accountant of another kind."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from clap_vad.core.statistics.accounting import Terms, calibrated, epsilon_of
from clap_vad.errors import ClapError

DELTA = 1e-5
NOISELESS = Terms(None, DELTA, 1.0, 1.0, 0.1, 1, 1, 0, 1.0, 1.0)


def gaussian_epsilon(deviation: float, delta: float) -> float:
    """Balle and Wang 2018, theorem 8: the least epsilon of a sum of sensitivity 1 with noise of this deviation."""

    def excess(epsilon: float) -> float:
        half, way = 1 / (2 * deviation), epsilon * deviation
        return float(norm.cdf(half - way) - math.exp(epsilon + norm.logcdf(-half - way)) - delta)

    return float(brentq(excess, 0.0, 500.0, xtol=1e-10))


def rdp_epsilon(noise: float, sampling: float, rounds: int) -> float:
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders=[*range(2, 64), 80, 128, 256])
    event = dp_event.PoissonSampledDpEvent(sampling, dp_event.GaussianDpEvent(noise))
    return float(accountant.compose(event, rounds).get_epsilon(DELTA))


@pytest.mark.parametrize(
    ("noise", "times", "delta"),
    [(1.0, 1, 1e-5), (5.0, 9, 1e-5), (20.0, 9, 1e-6), (4.0, 200, 1e-5), (80.0, 11, 1e-5), (0.5, 2, 1e-3)],
)
def test_statistics_cost_what_one_gaussian_mechanism_of_their_joint_noise_does(noise, times, delta):
    terms = replace(NOISELESS, delta=delta, noise_statistics=noise)
    exact = gaussian_epsilon(noise / math.sqrt(times), delta)
    found = epsilon_of(terms, times, 0)
    assert exact - 1e-3 < found < max(1.005 * exact, exact + 2e-3)


@pytest.mark.parametrize(("noise", "rounds"), [(2.0, 3), (6.0, 100)])
def test_rounds_over_all_videos_are_plain_gaussian_releases(noise, rounds):
    found = epsilon_of(replace(NOISELESS, sampling=1.0, noise_training=noise), 0, rounds)
    assert found == pytest.approx(gaussian_epsilon(noise / math.sqrt(rounds), DELTA), rel=5e-3)


def test_statistics_and_rounds_add_up_as_one_composition():
    terms = replace(NOISELESS, noise_statistics=6.0, noise_training=9.0)
    together = gaussian_epsilon(1 / math.sqrt(9 / 6.0**2 + 40 / 9.0**2), DELTA)
    assert epsilon_of(terms, 9, 40) == pytest.approx(together, rel=5e-3)
    assert together < epsilon_of(terms, 9, 0) + epsilon_of(terms, 0, 40)


@pytest.mark.parametrize(("noise", "sampling", "rounds"), [(1.0, 0.05, 50), (4.0, 0.3, 100), (2.0, 0.5, 10)])
def test_sampled_rounds_cost_no_more_than_by_renyi_accounting_or_unsampled(noise, sampling, rounds):
    found = epsilon_of(replace(NOISELESS, sampling=sampling, noise_training=noise), 0, rounds)
    plain = gaussian_epsilon(noise / math.sqrt(rounds), DELTA)
    bound = rdp_epsilon(noise, sampling, rounds)
    assert 0.5 * bound < found <= bound  # the Renyi bound is loose, but by no such factor
    assert found < plain


def test_a_single_sampled_round_is_that_of_the_amplification_theorem():
    """Of one Gaussian: q e^eps + 1 - q and q delta, of adding and of removing (Balle, Barthe and Gaboardi 2018)."""
    noise, sampling = 1.5, 0.2
    unsampled = gaussian_epsilon(noise, DELTA / sampling)
    expected = math.log1p(sampling * math.expm1(unsampled))
    found = epsilon_of(replace(NOISELESS, sampling=sampling, noise_training=noise), 0, 1)
    assert found == pytest.approx(expected, abs=2e-3)


def test_less_sampling_more_noise_and_fewer_releases_each_cost_less():
    def cost(sampling: float = 0.5, noise: float = 3.0, rounds: int = 20) -> float:
        return epsilon_of(replace(NOISELESS, sampling=sampling, noise_training=noise), 3, rounds)

    for cheaper, dearer in (
        (cost(sampling=0.25), cost()),
        (cost(), cost(sampling=1.0)),
        (cost(noise=4.0), cost()),
        (cost(rounds=10), cost()),
    ):
        assert cheaper < 0.99 * dearer


def test_calibrated_noise_keeps_within_the_budget_and_no_less_would():
    epsilon, choices = 1.0, {"clip": 1.0, "sampling": 0.5, "lr": 0.2, "statistics": 9, "rounds": 50, "spare": 2}
    terms = calibrated(epsilon, DELTA, **choices, seed=7)
    assert asdict(terms).items() >= {**choices, "epsilon": epsilon, "delta": DELTA, "seed": 7}.items()
    assert 0.99 * epsilon < epsilon_of(terms) <= epsilon
    assert epsilon_of(replace(terms, noise_training=0.995 * terms.noise_training)) > epsilon
    alone = epsilon_of(terms, rounds=0)  # a quarter of the whole is for the statistics
    assert 0.98 * epsilon / 4 < alone <= epsilon / 4
    assert epsilon_of(replace(terms, noise_statistics=0.995 * terms.noise_statistics), rounds=0) > epsilon / 4


def test_repeats_that_are_allowed_are_counted_as_made():
    terms = replace(NOISELESS, statistics=9, rounds=20, spare=2, noise_statistics=5.0, noise_training=4.0)
    assert epsilon_of(terms) == epsilon_of(terms, 11, 22) > epsilon_of(replace(terms, spare=0))
    assert epsilon_of(terms, 0, 0) == 0


def test_an_infinite_epsilon_gives_no_noise_and_promises_nothing():
    terms = calibrated(math.inf, DELTA, clip=2.0, sampling=0.5, lr=0.1, statistics=9, rounds=5, spare=1)
    assert (terms.epsilon, terms.noise_statistics, terms.noise_training) == (None, 0.0, 0.0)
    assert epsilon_of(terms) == math.inf
    assert epsilon_of(terms, 0, 0) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        *[({"epsilon": value}, "--epsilon is") for value in (0.0, -1.0, math.nan)],
        *[({"delta": value}, "--delta is") for value in (0.0, 1.0, -1e-5, math.nan)],
        *[({"clip": value}, "--dp-clip is") for value in (0.0, -1.0, math.inf, math.nan)],
        *[({"lr": value}, "--dp-lr is") for value in (0.0, -1.0, math.inf, math.nan)],
        *[({"sampling": value}, "--dp-sampling is") for value in (0.0, 1.01, -0.5, math.nan)],
        ({"statistics": 0}, "at least one statistic and one round"),
        ({"rounds": 0}, "at least one statistic and one round"),
        ({"spare": -1}, "at least one statistic and one round"),
    ],
)
def test_numbers_out_of_range_are_refused_by_the_name_of_their_option(changes, says):
    good = {"epsilon": 1.0, "delta": DELTA, "clip": 1.0, "sampling": 0.5, "lr": 0.1, "statistics": 9, "rounds": 5}
    with pytest.raises(ClapError, match=says) as told:
        calibrated(**{**good, **changes})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("noise", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0), (1.0, math.nan), (math.inf, 1.0)])
def test_noise_without_a_guarantee_is_refused_if_epsilon_is_finite(noise):
    with pytest.raises(ClapError, match="ensure no guarantee"):
        Terms(1.0, DELTA, 1.0, 0.5, 0.1, 9, 5, 0, *noise)


def test_an_infinite_epsilon_is_written_as_none():
    with pytest.raises(ClapError, match="--epsilon is inf"):
        Terms(math.inf, DELTA, 1.0, 0.5, 0.1, 9, 5, 0, 1.0, 1.0)
