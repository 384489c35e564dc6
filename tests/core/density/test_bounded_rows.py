"""Sizes, moments and histograms of rows that one unit moves by at most 1."""

import numpy as np
import pytest

from clap_vad.core.density import bounded_rows as bounded
from clap_vad.core.density.surprise import Surprise, value_histogram
from clap_vad.core.statistics.histogram import BINS, score_bins, score_quantile

ROWS = [np.zeros(5), np.full(5, 3e38), np.full(5, -1e-30), np.array([1e9, 0, 0, 0, 0]), np.arange(5.0)]


def flat(found):
    return np.concatenate([np.ravel(value) for value in (found.values() if isinstance(found, dict) else [found])])


STATISTICS = {
    "sizes": bounded.size_sums,
    "moments": lambda rows, weights: bounded.moment_sums(rows, weights, np.full(5, 0.1), 3.0),
    "scales": lambda rows, weights: bounded.scale_sums(rows[:, 0], weights),
    "peaks": lambda rows, weights: bounded.peak_sums(
        score_bins(np.abs(rows[:, 0]) / (1 + np.abs(rows[:, 0]))), weights
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("row", range(len(ROWS)))
def test_one_more_region_changes_it_by_at_most_1(name, row):
    rows = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    few, more = (STATISTICS[name](r, np.ones(len(r))) for r in (rows, np.vstack([rows, ROWS[row]]).astype(np.float32)))
    assert np.linalg.norm(flat(more) - flat(few)) <= 1 + 1e-6


@pytest.mark.parametrize("name", STATISTICS)
def test_one_whole_video_more_moves_it_by_at_most_1(name):
    rng = np.random.default_rng(1)
    rows, video = (rng.standard_normal((n, 5)).astype(np.float32) * 100 for n in (40, 333))
    few = STATISTICS[name](rows, np.full(40, 0.1))
    weights = np.concatenate([np.full(40, 0.1), np.full(333, 1 / 333)])
    more = STATISTICS[name](np.vstack([rows, video]), weights)
    assert np.linalg.norm(flat(more) - flat(few)) <= 1 + 1e-6


def test_without_noise_the_normalisation_is_that_of_the_rows():
    rng = np.random.default_rng(2)
    rows = (rng.standard_normal((5000, 4)) * [1e-3, 1, 50, 1e4] + [0, 3, -20, 1e5]).astype(np.float32)
    weights = np.ones(5000)
    sizes = bounded.read_sizes(bounded.size_sums(rows, weights), 0.0)
    root = np.sqrt(np.square(rows.astype(np.float64)).mean(axis=0))
    assert (np.abs(np.log2(sizes / root)) < 0.5).all()
    found = bounded.read_normaliser(
        **bounded.moment_sums(rows, weights, sizes, 15.0), deviation=0.0, sizes=sizes, most=15.0
    )
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(1 / found.scale, rows.std(axis=0), rtol=1e-2)


def test_noise_moves_the_normalisation_of_many_rows_little():
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((20_000, 10)).astype(np.float32) * 7 + 2
    weights, deviation = np.ones(20_000), 4.5 * np.sqrt(4)
    noisy = bounded.size_sums(rows, weights) + deviation * rng.standard_normal((10, bounded.SIZE_BINS))
    assert bounded.units_in(noisy) == pytest.approx(20_000, rel=0.02)
    sizes = bounded.read_sizes(noisy, deviation)
    most = bounded.most_lengths(20_000, deviation, 10)
    sums = {
        name: value + deviation * rng.standard_normal(value.shape)
        for name, value in bounded.moment_sums(rows, weights, sizes, most).items()
    }
    found = bounded.read_normaliser(**sums, deviation=deviation, sizes=sizes, most=most)
    assert bounded.counted(sums["count"]) == pytest.approx(20_000, rel=0.01)
    assert np.abs(found.mean - 2).max() < 0.5
    assert (np.abs(1 / found.scale / 7 - 1) < 0.1).all()


def test_one_count_that_is_noise_at_an_enormous_size_makes_no_size():
    rng = np.random.default_rng(8)
    rows = rng.standard_normal((2000, 3)).astype(np.float32)
    for _ in range(50):
        noisy = bounded.size_sums(rows, np.ones(2000)) + 12 * rng.standard_normal((3, bounded.SIZE_BINS))
        noisy[1, -1] += 40.0  # at 2^21
        assert (np.abs(np.log2(bounded.read_sizes(noisy, 12.0))) < 0.7).all()


@pytest.mark.parametrize("usual", [0.0, 1e-3])
def test_a_number_that_is_mostly_next_to_nothing_has_the_size_of_the_rest(usual):
    """A share of moving samples: 0 in most cells, and what matters is the others."""
    rng = np.random.default_rng(9)
    rows = rng.standard_normal((20_000, 4)) * [1, 5, 0.3, 2]
    rows[rng.random(20_000) < 0.7, 1] = usual
    total = bounded.size_sums(rows.astype(np.float32), np.ones(20_000)) + 10 * rng.standard_normal((4, 40))
    root = np.sqrt(np.square(rows).mean(axis=0))
    assert (np.abs(np.log2(bounded.read_sizes(total, 10.0) / root)) < 0.5).all()


@pytest.mark.parametrize(("share", "liars"), [(0.4, 0.3), (0.1, 0.07)])
def test_who_holds_less_than_a_share_of_a_masked_sum_sets_no_size(share, liars):
    rng = np.random.default_rng(9)
    rows = rng.standard_normal((20_000, 3)).astype(np.float32)
    rows[rng.random((20_000, 3)) < 0.5] = 0.0
    honest = bounded.read_sizes(bounded.near_the_rest(bounded.size_sums(rows, np.ones(20_000)), 5.0, share), 5.0)
    exact = bounded.read_sizes(bounded.size_sums(rows, np.ones(20_000)), 5.0)
    np.testing.assert_array_equal(honest, exact)  # nothing of honest numbers lies so far out
    lied = rows.copy()
    lied[: int(liars * len(rows) / 2)] = 2.0**20
    found = bounded.read_sizes(bounded.near_the_rest(bounded.size_sums(lied, np.ones(20_000)), 5.0, share), 5.0)
    assert (found / exact < 16).all()


def test_a_number_that_never_varies_has_scale_0_without_noise():
    rows = np.column_stack([np.full(100, 7.0), np.arange(100.0)]).astype(np.float32)
    sizes = bounded.read_sizes(bounded.size_sums(rows, np.ones(100)), 0.0)
    sums = bounded.moment_sums(rows, np.ones(100), sizes, 15.0)
    found = bounded.read_normaliser(**sums, deviation=0.0, sizes=sizes, most=15.0)
    assert found.scale[0] == 0 and found.scale[1] > 0


def test_nothing_but_noise_gives_finite_constants():
    rng = np.random.default_rng(4)
    total = 5 * rng.standard_normal((3, bounded.SIZE_BINS))
    sizes = bounded.read_sizes(total, 5.0)
    found = bounded.read_normaliser(np.array([-3.0]), np.ones(3), -np.ones(3), deviation=5.0, sizes=sizes, most=3.0)
    assert np.isfinite(found.mean).all() and np.isfinite(found.scale).all() and (found.scale >= 0).all()


def test_surprise_read_from_a_coarse_noisy_histogram_is_that_of_the_values():
    rng = np.random.default_rng(5)
    values = rng.exponential(size=40_000) * 3 - 1
    exact = Surprise(value_histogram(values))
    noisy = bounded.scale_sums(values, np.ones(40_000)) + 12 * rng.standard_normal(bounded.SCALE_BINS)
    found = Surprise(bounded.read_scale(noisy, 12.0, 1000))
    at = np.array([0.0, 2.0, 5.0, 9.0, 12.0])
    np.testing.assert_allclose(found(at), exact(at), rtol=0.15, atol=0.05)


def test_a_few_counts_far_out_that_are_noise_make_no_tail():
    rng = np.random.default_rng(6)
    values = rng.standard_normal(20_000)
    noisy = bounded.scale_sums(values, np.ones(20_000)) + 10 * rng.standard_normal(bounded.SCALE_BINS)
    noisy[-3] += 45.0  # at about 10,000
    counts = bounded.read_scale(noisy, 10.0)
    assert counts[900:].sum() == 0
    assert abs(counts.sum() - 20_000) < 2000


def test_peaks_keep_their_quantiles():
    rng = np.random.default_rng(7)
    surprise = rng.exponential(size=30_000) * 2
    scores = (surprise / (1 + surprise)).astype(np.float32)
    noisy = bounded.peak_sums(score_bins(scores), np.ones(30_000)) + 8 * rng.standard_normal(bounded.PEAK_BINS)
    found = score_quantile(bounded.read_peaks(noisy, 8.0, BINS, 1000), 0.99)
    assert found == pytest.approx(np.quantile(scores, 0.99), abs=0.02)
