"""EM on sums over participants against scikit-learn's mixture on all pairs together."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from clap_vad.core.pseudo_labels.federated_mixture import (
    MAX_STEPS,
    STARTS,
    Fit,
    Mixtures,
    PairMoments,
    Statistics,
    advance,
    begin,
    best,
    expectation,
    finished,
    in_anomalous_component,
    maximise,
    normal_component,
    standardisation,
    starts,
)

KINDS = ("clusters", "tail", "one", "line", "repeated")


def pairs_of(kind: str, count: int, seed: int) -> np.ndarray:
    """(count, 2) pairs on scales such as rises and entropies have."""
    rng = np.random.default_rng(seed)
    if kind == "clusters":
        x = rng.normal(0, 1, (count, 2)) + rng.normal(0, 4, 2) * (rng.random((count, 1)) < 0.3)
    elif kind == "tail":
        x = rng.lognormal(0, 1, (count, 2))
    elif kind == "one":
        x = rng.normal(0, 1, (count, 2))
    elif kind == "line":
        x = np.outer(rng.normal(0, 1, count), [1.0, -2.0]) + rng.normal(0, 1e-3, (count, 2))
    else:
        x = rng.integers(0, 3, (count, 2)).astype(float)
    return x * [30.0, 500.0] + [100.0, -2000.0]


def split(rows: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(rows, np.cumsum(sizes)[:-1])


def standardised(pairs: np.ndarray) -> np.ndarray:
    mean, scale = standardisation(PairMoments.of(pairs))
    return (pairs - mean) * scale


def one(mixtures: Mixtures, number: int) -> Mixtures:
    return Mixtures(*(a[number : number + 1] for a in (mixtures.weights, mixtures.means, mixtures.covariances)))


def sklearns(z: np.ndarray, start: Mixtures, steps: int, tolerance: float) -> GaussianMixture:
    """scikit-learn's EM from this start (R = 1) on all pairs."""
    mixture = GaussianMixture(
        2,
        tol=tolerance,
        max_iter=steps,
        weights_init=start.weights[0],
        means_init=start.means[0],
        precisions_init=np.linalg.inv(start.covariances[0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z)


def assert_equal_to_sklearns(mixture: Mixtures, expected: GaussianMixture) -> None:
    np.testing.assert_allclose(mixture.weights[0], expected.weights_, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mixture.means[0], expected.means_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(mixture.covariances[0], expected.covariances_, rtol=1e-6, atol=1e-6)


def fit_of(pairs: np.ndarray, sizes: list[int]) -> Fit:
    """As coordinator and participants do it, who hold so many pairs each."""
    parts = split(pairs, sizes)
    moments = PairMoments.total(PairMoments.of(part) for part in parts)
    mean, scale = standardisation(moments)
    fit = begin(moments)
    while not finished(fit):
        fit = advance(fit, Statistics.total(expectation((part - mean) * scale, fit.mixtures) for part in parts))
    return fit


sizes = st.lists(st.integers(1, 12), min_size=1, max_size=8).filter(lambda held: sum(held) >= 2)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), sizes, st.integers(1, 40), st.integers(0, STARTS - 1))
def test_so_many_steps_on_sums_are_so_many_of_scikit_learn_on_all_pairs(kind, seed, held, steps, number):
    pairs = pairs_of(kind, sum(held), seed)
    z = standardised(pairs)
    mixtures = start = one(starts(PairMoments.of(pairs)), number)
    for _ in range(steps):
        sums = Statistics.total(expectation(part, mixtures) for part in split(z, held))
        mixtures = maximise(mixtures, sums)
    expected = sklearns(z, start, steps, tolerance=0.0)
    assert expected.n_iter_ == steps
    assert_equal_to_sklearns(mixtures, expected)
    assert sums.likelihood[0] / len(z) == pytest.approx(expected.lower_bound_, abs=1e-6)


@settings(deadline=None, max_examples=8)
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), sizes)
def test_a_fit_stops_where_scikit_learn_does_and_keeps_its_likeliest_start(kind, seed, held):
    pairs = pairs_of(kind, sum(held), seed)
    fit = fit_of(pairs, held)
    if len(np.unique(pairs, axis=0)) == 1:
        return
    z, begun = standardised(pairs), starts(PairMoments.of(pairs))
    expected = [sklearns(z, one(begun, number), MAX_STEPS, tolerance=1e-3) for number in range(STARTS)]
    for number, mixture in enumerate(expected):
        assert_equal_to_sklearns(one(fit.mixtures, number), mixture)
    assert fit.step == max(mixture.n_iter_ for mixture in expected)
    # The bounds here are of the last step, in which those that had stopped before stand at their last parameters.
    assert fit.bound.max() == pytest.approx(max(mixture.lower_bound_ for mixture in expected), abs=1e-3)
    chosen = expected[int(np.argmax(fit.bound))]
    assert_equal_to_sklearns(best(fit), chosen)
    other = in_anomalous_component(z, best(fit), normal=0)
    clear = np.abs(np.diff(chosen.predict_proba(z), axis=1)[:, 0]) > 1e-6
    np.testing.assert_array_equal(other[clear], (chosen.predict(z) == 1)[clear])


@pytest.mark.parametrize("kind", KINDS)
def test_who_holds_which_pairs_changes_nothing_but_the_order_of_the_sums(kind):
    pairs = pairs_of(kind, 60, 4)
    fits = [fit_of(pairs, held) for held in ([60], [1] * 60, [1, 30, 1, 28], [59, 1])]
    for fit in fits[1:]:
        assert fit.step == fits[0].step
        np.testing.assert_allclose(fit.bound, fits[0].bound, atol=1e-8)
        for name in ("weights", "means", "covariances"):
            np.testing.assert_allclose(getattr(fit.mixtures, name), getattr(fits[0].mixtures, name), atol=1e-7)
    again = fit_of(pairs, [1, 30, 1, 28])
    for name in ("weights", "means", "covariances"):
        np.testing.assert_array_equal(getattr(again.mixtures, name), getattr(fits[2].mixtures, name))


@pytest.mark.parametrize("kind", ["clusters", "tail", "one"])
@pytest.mark.parametrize("seed", range(2))
def test_the_starts_find_what_many_random_ones_find(kind, seed):
    """In likelihood, on enough pairs that a handful of them is no peak of its own."""
    pairs = pairs_of(kind, 300, seed)
    z = standardised(pairs)
    fit = fit_of(pairs, [100] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        usual = GaussianMixture(2, max_iter=MAX_STEPS, random_state=0).fit(z)
        many = GaussianMixture(2, max_iter=MAX_STEPS, n_init=20, init_params="random", random_state=0).fit(z)
    assert fit.bound.max() >= usual.lower_bound_ - 0.01
    assert fit.bound.max() >= many.lower_bound_ - 0.01


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
def test_every_start_has_the_mean_and_the_covariance_of_the_pairs(count, seed):
    pairs = pairs_of("clusters", count, seed)
    z, mixtures = standardised(pairs), starts(PairMoments.of(pairs))
    mean = np.einsum("rk,rki->ri", mixtures.weights, mixtures.means)
    within = np.einsum("rk,rkij->rij", mixtures.weights, mixtures.covariances)
    between = np.einsum("rk,rki,rkj->rij", mixtures.weights, mixtures.means, mixtures.means)
    np.testing.assert_allclose(mean, 0, atol=1e-9)
    np.testing.assert_allclose(within + between, np.tile(np.cov(z.T, ddof=0), (STARTS, 1, 1)), atol=1e-5)
    if count > 4:  # two pairs lie on a line, across which there is nothing to split
        different = [not np.allclose(mixtures.means[a], mixtures.means[b]) for a, b in pairwise(range(STARTS))]
        assert all(different)


DEGENERATE = {
    "all-equal": np.full((5, 2), [3.0, -7.0]),
    "all-zero": np.zeros((4, 2)),
    "one-pair": np.array([[3.0, -7.0]]),
    "no-pair": np.zeros((0, 2)),
    "two-pairs": np.array([[0.0, 0.0], [5.0, 9.0]]),
    "two-distinct": np.array([[0.0, 0.0]] * 6 + [[5.0, 9.0]]),
    "rise-never-varies": np.stack([np.zeros(6), np.array([1.0, 1.1, 0.9, 1.0, 8.0, 9.0])], axis=1),
    "entropy-never-varies": np.stack([np.array([1.0, 1.1, 0.9, 1.0, 8.0, 9.0]), np.full(6, 1e6)], axis=1),
    "on-a-line": np.outer(np.array([0.0, 0.1, 0.2, 0.1, 9.0, 9.1]), [1.0, 3.0]),
    "one-far-off": np.array([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.1, 0.1], [1e9, 1e9]]),
}


@pytest.mark.parametrize("pairs", DEGENERATE.values(), ids=DEGENERATE.keys())
@pytest.mark.parametrize("rule", ["size", "calm"])
def test_degenerate_pairs_give_a_finite_mixture(pairs, rule):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_of(pairs, [1] * len(pairs) or [0])
        mixture = best(fit)
        assert mixture.possible(1)
        normal = normal_component(mixture, len(pairs), rule)
        anomalous = in_anomalous_component(standardised(pairs), mixture, normal)
    if len(np.unique(pairs, axis=0)) < 2:
        assert fit.step == 0
        assert not anomalous.any()
    elif len(pairs) > 2:
        odd = pairs.max(axis=1) if pairs[:, 1].std() > 0 and pairs[0, 1] < 1e6 else pairs[:, 0]
        np.testing.assert_array_equal(anomalous, odd > 5)
    else:
        assert anomalous.tolist() == [False, True]  # of two alone the calmer is normal


def test_a_place_without_pairs_adds_nothing():
    mixtures = starts(PairMoments.of(pairs_of("clusters", 20, 0)))
    nothing = expectation(np.zeros((0, 2)), mixtures)
    assert not any(getattr(nothing, name).any() for name in ("responsibility", "sum", "outer", "likelihood"))


def test_a_step_of_nobody_changes_nothing_and_counts():
    fit = begin(PairMoments.of(pairs_of("clusters", 20, 0)))
    after = advance(fit, expectation(np.zeros((0, 2)), fit.mixtures))
    assert (after.step, after.mixtures) == (1, fit.mixtures)
    assert not finished(after)
    for _ in range(MAX_STEPS - 1):
        after = advance(after, expectation(np.zeros((0, 2)), fit.mixtures))
    assert finished(after)


def test_sums_that_no_pairs_have_end_the_fit_where_it_was():
    pairs = pairs_of("clusters", 20, 0)
    before = begin(PairMoments.of(pairs))
    fit = advance(before, expectation(standardised(pairs), before.mixtures))
    sums = expectation(standardised(pairs), fit.mixtures)
    after = advance(fit, replace(sums, outer=-sums.outer))
    assert finished(after) and after.mixtures == fit.mixtures and best(after) is not None
    assert np.array_equal(after.bound, fit.bound)


def test_a_start_that_comes_to_an_impossible_mixture_is_given_up_and_never_chosen():
    pairs = pairs_of("clusters", 40, 0)
    z, fit = standardised(pairs), begin(PairMoments.of(pairs))
    likeliest = int(np.argmax(fit_of(pairs, [40]).bound))
    before = one(fit.mixtures, likeliest)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while not finished(fit):
            sums = expectation(z, fit.mixtures)
            if fit.step == 0:
                sums.outer[likeliest] *= -1
            fit = advance(fit, sums)
    assert fit.bound[likeliest] == -np.inf
    np.testing.assert_array_equal(one(fit.mixtures, likeliest).covariances, before.covariances)
    assert int(np.argmax(fit.bound)) != likeliest
    assert np.isfinite(np.delete(fit.bound, likeliest)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_sums_rounded_to_fixed_point_lead_to_the_same_mixture(kind):
    """As secure aggregation rounds them: to multiples of 2^-36 here."""
    pairs = pairs_of(kind, 50, 3)
    z, exact = standardised(pairs), fit_of(pairs, [50])
    fit = begin(PairMoments.of(pairs))
    while not finished(fit):
        sums = expectation(z, fit.mixtures)
        names = ("responsibility", "sum", "outer", "likelihood")
        fit = advance(fit, Statistics(*(np.round(getattr(sums, name) * 2.0**36) / 2.0**36 for name in names)))
    assert fit.bound.max() == pytest.approx(exact.bound.max(), abs=1e-3)
    chosen = [in_anomalous_component(z, best(f), normal_component(best(f), 50)) for f in (fit, exact)]
    np.testing.assert_array_equal(*chosen)


def mixture_of(weights: tuple[float, float], rises: tuple[float, float]) -> Mixtures:
    means = np.array([[[rises[0], 0.0], [rises[1], 0.0]]])
    return Mixtures(np.array([weights]), means, np.tile(np.eye(2), (1, 2, 1, 1)))


@pytest.mark.parametrize(
    ("weights", "rises", "by_size", "by_calm"),
    [
        ((0.7, 0.3), (0.0, 2.0), 0, 0),
        ((0.3, 0.7), (0.0, 2.0), 1, 0),  # mostly anomalous
        ((0.5, 0.5), (2.0, 0.0), 1, 1),  # as large: the calmer
        ((1 - 1e-15, 1e-15), (2.0, 0.0), 0, 0),  # an emptied component is never normal
        ((1.0, 0.0), (0.0, 0.0), 0, 0),
        ((0.4, 0.6), (1.0, 1.0), 1, 1),  # rises do not tell
    ],
)
def test_which_component_is_normal(weights, rises, by_size, by_calm):
    mixture = mixture_of(weights, rises)
    assert (normal_component(mixture, 100, "size"), normal_component(mixture, 100, "calm")) == (by_size, by_calm)


@pytest.mark.parametrize(
    "mixture",
    [
        Mixtures(np.ones((2, 2)) / 2, np.zeros((2, 2, 2)), np.tile(np.eye(2), (2, 2, 1, 1))),
        Mixtures(np.array([[-0.5, 1.5]]), np.zeros((1, 2, 2)), np.tile(np.eye(2), (1, 2, 1, 1))),
        Mixtures(np.ones((1, 2)) / 2, np.full((1, 2, 2), np.nan), np.tile(np.eye(2), (1, 2, 1, 1))),
        Mixtures(np.ones((1, 2)) / 2, np.zeros((1, 2, 2)), np.tile(-np.eye(2), (1, 2, 1, 1))),
    ],
    ids=["two", "weight", "nan", "covariance"],
)
def test_impossible_mixtures_are_known(mixture):
    assert not mixture.possible(1)
    assert mixture_of((0.5, 0.5), (0.0, 1.0)).possible(1)
