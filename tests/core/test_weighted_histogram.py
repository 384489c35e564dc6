"""Histograms of scores that count more than once, against a loop over scores one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.statistics.histogram import BINS, score_histogram

scores = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e-12, 1 - 1e-12, 1e-7, 1 - 1e-7])
weighted = st.lists(st.tuples(scores, st.integers(0, 2**40)), max_size=30)


def slow_histogram(pairs: list[tuple[float, int]]) -> list[int]:
    """4096 equal bins of the logit over [-16, 16]; what lies beyond counts to the first or last."""
    counted = [0] * BINS
    for score, count in pairs:
        kept = min(max(score, 1e-12), 1 - 1e-12)
        place = math.floor((math.log(kept) - math.log1p(-kept) + 16) * 128)
        counted[min(max(place, 0), BINS - 1)] += count
    return counted


@given(weighted)
def test_it_counts_as_a_loop_does(pairs):
    given = np.array([score for score, _ in pairs], np.float64), np.array([count for _, count in pairs], np.int64)
    found = score_histogram(*given)
    assert (found.shape, found.dtype) == ((BINS,), np.int64)
    assert found.tolist() == slow_histogram(pairs)


@given(st.lists(scores, max_size=30))
def test_counts_of_one_are_no_counts(given):
    s = np.array(given, np.float64)
    np.testing.assert_array_equal(score_histogram(s), score_histogram(s, np.ones(len(s), np.int64)))
    assert not score_histogram(s, np.zeros(len(s), np.int64)).any()


@given(st.lists(st.tuples(scores, st.integers(0, 6)), max_size=12))
def test_a_count_is_how_often_a_score_is_written_out(pairs):
    s, counts = np.array([p[0] for p in pairs], np.float64), np.array([p[1] for p in pairs], np.int64)
    np.testing.assert_array_equal(score_histogram(s, counts), score_histogram(np.repeat(s, counts)))


@given(weighted, weighted)
def test_histograms_of_two_sites_add_up_to_that_of_both(one, other):
    def histogram(pairs: list[tuple[float, int]]) -> np.ndarray:
        return score_histogram(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], np.int64))

    np.testing.assert_array_equal(histogram(one) + histogram(other), histogram(one + other))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_scores_of_any_precision_fall_where_their_value_does(dtype):
    s = np.random.default_rng(0).random(500).astype(dtype)
    counts = np.random.default_rng(1).integers(0, 100, 500)
    assert score_histogram(s, counts).tolist() == slow_histogram(
        [(float(x), int(n)) for x, n in zip(s, counts, strict=True)]
    )


def test_large_counts_are_exact():
    found = score_histogram(np.array([0.5, 0.5, 0.1]), np.array([2**52, 1, 2**53 - 1]))
    assert sorted(found[found > 0].tolist()) == [2**52 + 1, 2**53 - 1]


def test_no_scores_are_no_counts():
    for counts in (None, np.zeros(0, np.int64)):
        found = score_histogram(np.zeros(0, np.float32), counts)
        assert (found.shape, found.dtype, found.any()) == ((BINS,), np.int64, np.False_)
