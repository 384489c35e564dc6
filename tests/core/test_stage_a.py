"""CLAP's stage A statistics against slow loops, numpy's covariance and scipy's densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from clap_vad.core.pseudo_labels.magnitude import magnitudes, region_mean
from clap_vad.core.pseudo_labels.mixture import anomalous_videos, common_density, normal_gaussian, pooled_gaussian
from clap_vad.core.pseudo_labels.summary import diagonal_entropy, largest_rise, von_neumann_entropy
from clap_vad.core.pseudo_labels.windows import refine, variation_window, window_labels
from clap_vad.core.statistics.moments import Moments, Normaliser, SpreadAccumulator

RNG = np.random.default_rng(0)


def test_magnitude_and_region_mean_by_loops():
    x = RNG.normal(size=(5, 3, 4)).astype(np.float32)
    valid = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 0]], dtype=bool)
    for mask in (None, valid):
        for t in range(5):
            crops = [c for c in range(3) if mask is None or mask[t, c]]
            energy = [sum(float(v) ** 2 for v in x[t, c]) for c in crops]
            assert magnitudes(x, mask)[t] == pytest.approx(sum(energy) / len(crops) if crops else 0, rel=1e-5)
            mean = sum(x[t, c] for c in crops) / len(crops) if crops else np.zeros(4)
            np.testing.assert_allclose(region_mean(x, mask)[t], mean, rtol=1e-5, atol=1e-6)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.floats(0, 1e4))
def test_spread_in_blocks_is_the_variance_of_the_whole(sizes, offset):
    rows = (np.random.default_rng(sum(sizes)).normal(size=(sum(sizes), 3)) + offset).astype(np.float32)
    spread, start = SpreadAccumulator(3), 0
    for size in sizes:
        spread.add(rows[start : start + size])
        start += size
    expected = rows.astype(np.float64).var(axis=0, ddof=1) if len(rows) > 1 else np.zeros(3)
    np.testing.assert_allclose(spread.variance(), expected, rtol=1e-4, atol=1e-9)


def test_entropy_is_the_release_formula_on_the_diagonal_of_the_full_covariance():
    rows = RNG.normal(size=(30, 6)).astype(np.float32)
    rows[:, 2] = 1.0
    covariance = np.cov(rows.T.astype(np.float64))
    expected = sum(-v * math.log(v) for v in (d if d != 0 else 1e-9 for d in np.diag(covariance)))
    spread = SpreadAccumulator(6)
    spread.add(rows)
    assert diagonal_entropy(spread.variance()) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(5, 12), (40, 6)])
def test_von_neumann_entropy_from_the_eigenvalues_of_the_full_covariance(shape):
    rows = RNG.normal(size=shape).astype(np.float32)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T.astype(np.float64)))
    expected = -sum(v * math.log(v) for v in eigenvalues if v > 1e-8)
    assert von_neumann_entropy(rows) == pytest.approx(expected, rel=1e-6)


def test_one_segment_has_no_rise_and_a_defined_entropy():
    assert largest_rise(np.array([3.0])) == 0
    assert math.isfinite(von_neumann_entropy(np.ones((1, 4), np.float32)))


def test_mixture_is_scikit_learns_and_the_larger_cluster_is_normal():
    from sklearn.mixture import GaussianMixture

    summaries = np.concatenate([RNG.normal(0, 1, (30, 2)), RNG.normal(9, 1, (12, 2))])
    cluster = GaussianMixture(2, covariance_type="full", max_iter=150, random_state=0).fit_predict(summaries)
    larger = 0 if (cluster == 0).sum() > (cluster == 1).sum() else 1
    np.testing.assert_array_equal(anomalous_videos(summaries), cluster != larger)
    assert anomalous_videos(summaries)[30:].all()
    # Mostly anomalies: by size the calm videos come out anomalous, by calm they do not.
    mostly = np.concatenate([summaries[:10], summaries[30:], summaries[30:] + 0.1])
    assert anomalous_videos(mostly, "size")[:10].all()
    assert not anomalous_videos(mostly, "calm")[:10].any()


@pytest.mark.parametrize("videos", [1, 2, 3])
def test_few_or_identical_videos_do_not_crash_the_mixture(videos):
    assert len(anomalous_videos(np.ones((videos, 2)))) == videos


def test_common_density_is_the_weighted_sum_of_scipys():
    m = RNG.normal(5, 2, 50)
    gaussians = np.array([[10, 4.0, 1.0], [0, 0.0, 0.0], [30, 6.0, 2.0]])
    expected = 0.25 * norm.pdf(m, 4, 1) + 0.75 * norm.pdf(m, 6, math.sqrt(2))
    np.testing.assert_allclose(common_density(m, gaussians), expected, rtol=1e-12)
    np.testing.assert_array_equal(common_density(m, np.zeros((2, 3))), m)
    assert np.isfinite(common_density(m, np.array([[1, 5.0, 0.0]]))).all()


def test_pooled_gaussian_from_sums_is_the_gaussian_of_all():
    parts = [RNG.normal(5, 2, n) for n in (3, 8)]
    together = np.concatenate(parts)
    sums = [len(together), sum(p.sum() for p in parts), sum((p**2).sum() for p in parts)]
    np.testing.assert_allclose(pooled_gaussian(*sums), normal_gaussian(together), rtol=1e-9)
    assert normal_gaussian(together)[2] == pytest.approx(np.var(together, ddof=1))
    assert pooled_gaussian(0, 0, 0) == (0, 0, 0)


def slow_window(series, width):
    best, at = -1.0, 0
    for i in range(len(series) - width + 1):
        total = sum(abs(series[j + 1] - series[j]) for j in range(i, i + width - 1))
        if total > best:
            best, at = total, i
    return at


@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(2, 40))
def test_variation_window_by_the_slow_loop_with_its_ties(series, width):
    width = min(width, len(series))
    assert variation_window(np.array(series, float), width) == slow_window(series, width)


@pytest.mark.parametrize("length", [1, 2, 4, 5, 9, 10, 37])
def test_window_labels_of_every_length(length):
    series = np.random.default_rng(length).random(length)
    width = int(0.2 * length)
    release = window_labels(series, 0.2, "low", "release")
    assert release.sum() == width
    if width == 1:
        assert release[0] == 1
    extreme = window_labels(series, 0.2, "low", "extreme")
    assert extreme.sum() == max(width, 1)
    if width < 2:
        assert extreme[int(np.argmin(series))] == 1
    else:
        np.testing.assert_array_equal(extreme, release)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=30))
def test_refine_by_the_slow_loop(pairs):
    labels = np.array([p[0] for p in pairs], np.float32)
    window = np.array([p[1] for p in pairs], np.float32)
    both = sum(a > 0.5 and b > 0.5 for a, b in zip(labels, window, strict=True))
    either = sum(a > 0.5 or b > 0.5 for a, b in zip(labels, window, strict=True))
    if either == 0 or both / either < 0.05:
        expected = [1.0 if a > 0 or b > 0 else 0.0 for a, b in zip(labels, window, strict=True)]
    else:
        expected = [(a + b) / 2 for a, b in zip(labels, window, strict=True)]
    np.testing.assert_allclose(refine(labels, window), expected, rtol=1e-6)


def test_moments_add_up_and_standardise():
    rows = RNG.normal(3, 2, size=(100, 4))
    rows[:, 3] = 7.0
    total = Moments.total([Moments.of(rows[:30]), Moments.of(rows[30:])], 4)
    np.testing.assert_allclose(total.mean, rows.mean(axis=0))
    np.testing.assert_allclose(total.std[:3], rows.std(axis=0)[:3], rtol=1e-9)
    z = Normaliser.from_moments(total).apply(rows.astype(np.float32))
    np.testing.assert_allclose(z[:, :3].std(axis=0), 1, rtol=1e-4)
    assert not z[:, 3].any()  # a dimension that never varies carries nothing
