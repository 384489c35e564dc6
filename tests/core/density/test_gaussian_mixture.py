"""A mixture of Gaussians and its adaptation to a place against slow loops over scipy's densities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from crowds import crowd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from clap_vad.core.density.gaussian_mixture import (
    LEAST_VARIANCE,
    Mixture,
    MixtureSums,
    adapted,
    expectation,
    reseeded,
    starting_mixture,
    triangle,
)

K, D = 5, 3
EXTREME = np.array(np.meshgrid([-15.0, 0.0, 15.0], [-15.0, 15.0], [-15.0, 15.0])).reshape(3, -1).T


def random_mixture(seed: int = 0, k: int = K, d: int = D) -> Mixture:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, d, d))
    covariances = root @ np.swapaxes(root, 1, 2) / d + LEAST_VARIANCE * np.eye(d)
    return Mixture(rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)), covariances)


def slow_logs(mixture: Mixture, rows: np.ndarray) -> np.ndarray:
    """ln of weight times density, one by one."""
    parts = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    return np.array([np.log(w) + multivariate_normal(m, c).logpdf(rows.astype(float)) for w, m, c in parts]).T


def slow_expectation(mixture: Mixture, rows: np.ndarray) -> MixtureSums:
    logs = slow_logs(mixture, rows)
    k, d = mixture.means.shape
    mass, summed, outer = np.zeros(k), np.zeros((k, d)), np.zeros((k, triangle(d)))
    for x, own in zip(rows.astype(np.float64), logs, strict=True):
        total = logsumexp(own)
        for component in range(k):
            r = np.exp(own[component] - total)
            mass[component] += r
            summed[component] += r * x
            outer[component] += [r * x[i] * x[j] for i in range(d) for j in range(i, d)]
    return MixtureSums(mass, summed, outer)


def assert_same_sums(found: MixtureSums, expected: MixtureSums, rtol: float = 1e-9) -> None:
    for name in ("mass", "sum", "outer"):
        one, other = np.asarray(getattr(found, name)), np.asarray(getattr(expected, name))
        np.testing.assert_allclose(one, other, rtol, atol=1e-9 * max(1.0, float(np.abs(other).max())), err_msg=name)


def test_an_expectation_is_that_of_a_slow_loop_over_scipys_densities():
    mixture, rows = random_mixture(), crowd(60)
    assert_same_sums(expectation(mixture, rows), slow_expectation(mixture, rows))
    np.testing.assert_allclose(mixture.log_density(rows), logsumexp(slow_logs(mixture, rows), axis=1), rtol=1e-9)


def test_blocks_do_not_show_in_sums_or_densities(monkeypatch):
    mixture, rows = random_mixture(1), crowd(300)
    whole, densities = expectation(mixture, rows), mixture.log_density(rows)
    monkeypatch.setattr("clap_vad.core.density.gaussian_mixture._BLOCK_ROWS", 17)
    assert_same_sums(expectation(mixture, rows), whole)
    np.testing.assert_allclose(mixture.log_density(rows), densities, rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=5), st.integers(0, 5))
def test_sums_of_parts_are_the_sums_of_all(cuts, seed):
    mixture, rows = random_mixture(seed), crowd(200)
    parts = np.split(rows, sorted(min(cut, len(rows)) for cut in cuts))
    sums = [expectation(mixture, part) for part in parts]
    total = MixtureSums(*(sum(getattr(each, name) for each in sums) for name in ("mass", "sum", "outer")))
    assert_same_sums(total, expectation(mixture, rows))


def test_no_rows_are_zeros():
    found = expectation(random_mixture(), np.zeros((0, D), np.float32))
    assert_same_sums(found, MixtureSums(np.zeros(K), np.zeros((K, D)), np.zeros((K, triangle(D)))))
    assert random_mixture().log_density(np.zeros((0, D))).shape == (0,)


def test_where_em_begins_is_sound_even_about_rows_that_never_vary():
    assert starting_mixture(np.zeros(D), np.zeros((D, D)), K, np.random.default_rng(0)).sound()


@pytest.mark.parametrize("columns", [[0], [2, 0], [1, 2], [0, 1, 2]])
def test_a_marginal_is_that_of_scipy(columns):
    mixture, rows = random_mixture(2), crowd(50)
    found = mixture.marginal(columns).log_density(rows[:, columns])
    parts = [
        w * multivariate_normal(m[columns], c[np.ix_(columns, columns)]).pdf(rows[:, columns].astype(float))
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    near = np.sum(parts, axis=0) > 1e-250
    assert near.sum() > 40
    np.testing.assert_allclose(found[near], np.log(np.sum(parts, axis=0)[near]), rtol=1e-8)


# Adaptation.

PRIORS = {"prior": 50.0, "weight_prior": 500.0, "steps": 2}


def test_a_place_without_rows_keeps_the_common_density():
    found = adapted(random_mixture(), np.zeros((0, D)), **PRIORS)
    for name, value in vars(random_mixture()).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def test_an_adapted_density_is_that_of_a_slow_loop_with_pseudo_rows():
    mixture, rows = random_mixture(3), crowd(100)
    expected, least = mixture, LEAST_VARIANCE * np.eye(D)
    for _ in range(2):
        r = np.exp(slow_logs(expected, rows))
        r /= r.sum(axis=1, keepdims=True)
        means, covariances = [], []
        for k in range(K):
            mass = r[:, k].sum() + 50
            mean = (r[:, k] @ rows.astype(float) + 50 * mixture.means[k]) / mass
            second = sum(w * np.outer(x, x) for w, x in zip(r[:, k], rows.astype(float), strict=True))
            second = second + 50 * (mixture.covariances[k] - least + np.outer(mixture.means[k], mixture.means[k]))
            means.append(mean)
            covariances.append(second / mass - np.outer(mean, mean) + least)
        weights = (r.sum(axis=0) + 500 * mixture.weights) / (len(rows) + 500)
        expected = Mixture(weights, np.array(means), np.array(covariances))
    found = adapted(mixture, rows, **PRIORS)
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-8, atol=1e-10, err_msg=name)
    assert found.sound()


def test_a_place_with_many_rows_has_their_own_moments():
    rng = np.random.default_rng(4)
    rows = rng.multivariate_normal([3, -2, 1], [[2, 0.5, 0], [0.5, 1, 0.3], [0, 0.3, 0.5]], 400_000)
    one = Mixture(np.ones(1), np.zeros((1, D)), np.eye(D)[None])
    found = adapted(one, rows, prior=50, weight_prior=500, steps=1)
    np.testing.assert_allclose(found.means[0], rows.mean(axis=0), atol=2e-3)
    expected = np.cov(rows.T) + LEAST_VARIANCE * np.eye(D)
    np.testing.assert_allclose(found.covariances[0], expected, atol=5e-3)


@pytest.mark.parametrize("value", [1.0 / 3, -15.0])
def test_a_million_equal_rows_leave_the_least_variance(value):
    rows = np.full((1_000_000, D), value, np.float32)
    common = Mixture(np.array([0.7, 0.3]), np.array([[0.0] * D, [value] * D]), np.tile(np.eye(D), (2, 1, 1)))
    found = adapted(common, rows, prior=50, weight_prior=500, steps=1)
    assert found.sound()
    assert np.linalg.eigvalsh(found.covariances).min() >= LEAST_VARIANCE * (1 - 1e-9)


def test_one_row_hardly_moves_anything():
    mixture = random_mixture()
    found = adapted(mixture, EXTREME[:1], **PRIORS)
    assert found.sound()
    assert np.abs(found.weights - mixture.weights).max() < 1 / 500
    assert np.abs(found.means - mixture.means).max() < 2 * 17 / 50


# Components that are moved.


def test_a_component_without_rows_halves_the_heaviest():
    mixture, mass = random_mixture(), np.array([2.0, 400.0, 90.0, 0.0, 300.0])
    found = reseeded(mixture, mass, 5.0, np.random.default_rng(0))
    for dead, heavy in ((0, 1), (3, 4)):
        np.testing.assert_allclose((found.means[dead] + found.means[heavy]) / 2, mixture.means[heavy])
        step = found.means[dead] - mixture.means[heavy]
        assert step @ np.linalg.solve(mixture.covariances[heavy], step) > 0
        np.testing.assert_array_equal(found.covariances[dead], mixture.covariances[heavy])
        assert found.weights[dead] == found.weights[heavy]
        assert found.weights[dead] / found.weights[2] == pytest.approx(mixture.weights[heavy] / 2 / mixture.weights[2])
    np.testing.assert_array_equal(found.means[2], mixture.means[2])
    assert found.weights.sum() == pytest.approx(1)
    assert found.sound()
    assert mixture.means.tobytes() == random_mixture().means.tobytes()  # not in place


def test_nothing_is_moved_where_all_components_hold_rows_or_none_holds_enough():
    mixture = random_mixture()
    for mass in (np.full(K, 5.0), np.array([9.9, 1, 1, 1, 1]), np.zeros(K)):
        found = reseeded(mixture, mass, 5.0, np.random.default_rng(0))
        np.testing.assert_array_equal(found.means, mixture.means)
        np.testing.assert_allclose(found.weights, mixture.weights, rtol=1e-15)


def test_more_dead_components_than_living_ones_leave_a_sound_density():
    mass = np.array([1000.0, 0, 0, 0, 0])
    assert reseeded(random_mixture(), mass, 5.0, np.random.default_rng(0)).sound()


@pytest.mark.parametrize(("least", "moved"), [(1.0, 1), (5.0, 2), (100.0, 2), (160.0, 1), (201.0, 0)])
def test_the_more_noise_the_more_rows_a_component_must_hold_to_stay_where_it_is(least, moved):
    """The heaviest is halved where each half holds as many."""
    mixture, mass = random_mixture(), np.array([2.0, 400.0, 90.0, 0.0, 300.0])
    found = reseeded(mixture, mass, least, np.random.default_rng(0))
    assert sum(not np.array_equal(found.means[k], mixture.means[k]) for k in (0, 2, 3)) == moved
    assert found.sound()


# Soundness.

BROKEN = {
    "weights of another length": {"weights": np.ones(K + 1) / (K + 1)},
    "weights of two dimensions": {"weights": np.ones((K, 1)) / K},
    "a single weight": {"weights": np.array(1.0)},
    "weights that sum to 2": {"weights": np.full(K, 2 / K)},
    "a weight below 0": {"weights": np.array([-0.5, 0.5, 0.5, 0.25, 0.25])},
    "a weight NaN": {"weights": np.array([np.nan, 0.25, 0.25, 0.25, 0.25])},
    "a mean NaN": {"means": np.full((K, D), np.nan)},
    "a mean infinite": {"means": np.full((K, D), np.inf)},
    "means of one dimension": {"means": np.zeros(K)},
    "means of other dimensions": {"means": np.zeros((K, D + 1))},
    "means of no dimension": {"means": np.zeros((K, 0)), "covariances": np.zeros((K, 0, 0))},
    "no components": {"weights": np.zeros(0), "means": np.zeros((0, D)), "covariances": np.zeros((0, D, D))},
    "covariances of one component": {"covariances": np.eye(D)},
    "a covariance NaN": {"covariances": np.full((K, D, D), np.nan)},
    "a covariance infinite": {"covariances": np.full((K, D, D), np.inf)},
    "too narrow": {"covariances": np.tile(np.eye(D) * LEAST_VARIANCE * 0.99, (K, 1, 1))},
    "too narrow in one direction": {"covariances": np.tile(np.ones((D, D)) + 1e-3 * np.eye(D), (K, 1, 1))},
    "negative definite": {"covariances": -np.tile(np.eye(D), (K, 1, 1))},
    "not symmetric": {"covariances": np.tile(np.eye(D) + np.triu(np.ones((D, D)), 1), (K, 1, 1))},
    "half precision": {"covariances": np.tile(np.eye(D), (K, 1, 1)).astype(np.float16)},
    "whole numbers": {"means": np.zeros((K, D), np.int64)},
    "truth values": {"means": np.zeros((K, D), bool)},
    "so far out that densities overflow": {"means": np.full((K, D), 1e200)},
    "so wide that densities overflow": {"covariances": np.tile(np.eye(D) * 1e250, (K, 1, 1))},
}


@pytest.mark.parametrize("changes", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_density_is_not_sound(changes):
    assert not replace(random_mixture(), **changes).sound()


def test_what_is_fitted_or_has_components_without_weight_is_sound():
    assert random_mixture().sound()
    assert random_mixture(d=32).sound()
    assert replace(random_mixture(), weights=np.eye(K)[0]).sound()
    assert replace(random_mixture(), covariances=np.tile(np.eye(D) * LEAST_VARIANCE, (K, 1, 1))).sound()


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
kinds = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.uint8, bool])
arrays = st.builds(lambda shape, kind, value: np.full(shape, value).astype(kind), shapes, kinds, st.integers(0, 2))


@given(arrays, arrays, arrays)
def test_arrays_of_any_shape_and_type_are_checked(weights, means, covariances):
    mixture = Mixture(weights, means, covariances)
    if mixture.sound():
        assert np.isfinite(mixture.log_density(np.full((2, mixture.dim), 15.0))).all()


# Rows far from all components.


@pytest.mark.parametrize("dims", [3, 10, 32])
def test_rows_that_all_components_make_impossible_have_finite_densities_and_responsibilities(dims):
    """Their densities are below the smallest float64: e^-10000."""
    rng = np.random.default_rng(0)
    narrow = Mixture(np.full(4, 0.25), rng.normal(size=(4, dims)), np.tile(np.eye(dims) * LEAST_VARIANCE, (4, 1, 1)))
    rows = rng.choice([-15.0, 15.0], (50, dims)).astype(np.float32)
    assert (slow_logs(narrow, rows) < -10_000).all()
    np.testing.assert_allclose(narrow.log_density(rows), logsumexp(slow_logs(narrow, rows), axis=1), rtol=1e-9)
    sums = expectation(narrow, rows)
    assert sums.mass.sum() == pytest.approx(len(rows))
    assert all(np.isfinite(a).all() for a in (sums.mass, sums.sum, sums.outer))
    assert adapted(narrow, rows, **PRIORS).sound()


def test_components_without_weight_take_no_rows_however_far():
    mixture = replace(random_mixture(), weights=np.eye(K)[2])
    sums = expectation(mixture, np.concatenate([EXTREME, mixture.means]))
    assert (sums.mass > 0).tolist() == (np.arange(K) == 2).tolist()
    assert np.isfinite(mixture.log_density(EXTREME)).all()
