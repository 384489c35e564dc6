"""Surprise against the empirical distribution of the values themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import expon, genpareto, rankdata

from clap_vad.core.density.surprise import SURPRISE_BINS, Surprise, histogram_quantile, value_histogram

KINDS = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "normal, far from 0": lambda rng, n: rng.normal(-40, 3, n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
    "two lumps": lambda rng, n: np.where(rng.random(n) < 0.9, rng.normal(-5, 1, n), rng.normal(300, 20, n)),
}


def slow_bin(value: float) -> int:
    edges = [math.sinh(-12 + 24 * k / SURPRISE_BINS) for k in range(SURPRISE_BINS + 1)]
    return next((k for k in range(SURPRISE_BINS - 1) if value < edges[k + 1]), SURPRISE_BINS - 1)


def test_values_are_counted_in_bins_equal_in_asinh_and_those_outside_in_the_last():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_cauchy(150) * 100, [0.0, -1e300, 1e300, 9e4, -9e4, 81e3, -81e3]])
    expected = np.bincount([slow_bin(v) for v in values], minlength=SURPRISE_BINS)
    found = value_histogram(values)
    assert found.tolist() == expected.tolist()
    assert (found.dtype, found.sum()) == (np.int64, len(values))
    assert value_histogram(np.zeros(0)).tolist() == [0] * SURPRISE_BINS


@pytest.mark.parametrize("kind", KINDS)
def test_up_to_the_99th_percentile_surprise_is_the_logarithm_of_the_rank(kind):
    values = KINDS[kind](np.random.default_rng(1), 50_000)
    found = Surprise(value_histogram(values))(values)
    as_large = (len(values) - rankdata(values, "min") + 1) / len(values)
    body = as_large > 0.02
    np.testing.assert_allclose(found[body], -np.log(as_large[body]), atol=0.15)
    assert np.abs(found - -np.log(as_large))[body].mean() < 0.02  # bins blur
    assert found.mean() == pytest.approx(1, abs=0.05)
    assert (found >= 0).all()


def test_beyond_it_the_tail_is_scipys_generalised_pareto():
    values = np.random.default_rng(2).exponential(size=400_000)
    surprise = Surprise(value_histogram(values))
    start = -math.log(0.01)
    far = np.linspace(start + 0.5, start + 50, 40)
    # A scale of half the mean excess makes (1 + e)^-2, e in mean excesses, and it has that very mean.
    expected = -math.log(0.01) - genpareto(c=0.5, scale=0.5).logsf(far - start)
    np.testing.assert_allclose(surprise(far), expected, rtol=0.03)
    assert (surprise(far) < -expon.logsf(far))[5:].all()  # heavier than the exponential that it is


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20),
)
def test_larger_values_are_never_less_surprising(known, values):
    with np.errstate(over="ignore"):
        found = Surprise(value_histogram(np.array(known)))(np.sort(np.array(values)))
    assert (found[1:] >= found[:-1] - 1e-12).all()  # no difference: that of two infinite ones is none
    assert (found >= 0).all()
    assert not np.isnan(found).any()


@given(st.dictionaries(st.integers(0, SURPRISE_BINS - 1), st.integers(0, 10**9), max_size=20))
def test_any_histogram_gives_finite_surprise(filled):
    counts = np.zeros(SURPRISE_BINS, np.int64)
    counts[list(filled)] = list(filled.values())
    found = Surprise(counts)(np.array([-1e9, -81377.0, -1.0, 0.0, 1.0, 81377.0, 1e9]))
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()


def test_where_nothing_is_known_nothing_is_surprising():
    assert Surprise(np.zeros(SURPRISE_BINS, np.int64))(np.array([-3.0, 0.0, 1e9])).tolist() == [0, 0, 0]
    assert Surprise(value_histogram(np.ones(9)))(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("value", [0.0, 5.0, 1e9, -1e9])
def test_a_single_known_value_separates_smaller_from_larger(value):
    surprise = Surprise(value_histogram(np.array([value])))
    below, own, above = surprise(np.array([value - abs(value) - 1, value, value + abs(value) + 1]))
    assert 0 <= below <= own <= above < 50


def test_histograms_of_places_add_up():
    rng = np.random.default_rng(3)
    parts = [rng.normal(k, 1 + k, 300) for k in range(4)]
    whole = value_histogram(np.concatenate(parts))
    assert sum(value_histogram(part) for part in parts).tolist() == whole.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("q", [0.01, 0.5, 0.99])
def test_quantiles_of_a_histogram_are_those_of_the_values_to_within_a_bin(kind, q):
    values = KINDS[kind](np.random.default_rng(4), 20_000)
    found = histogram_quantile(value_histogram(values), q)
    assert abs(slow_bin(found) - slow_bin(float(np.quantile(values, q)))) <= 1


def test_of_nothing_the_quantile_is_0():
    assert histogram_quantile(np.zeros(SURPRISE_BINS, np.int64), 0.5) == 0
