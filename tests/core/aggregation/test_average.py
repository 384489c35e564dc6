"""Aggregation and score histograms against the obvious."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.aggregation.average import weighted_mean
from clap_vad.core.aggregation.robust import krum_selection, malicious_count, trimmed_mean
from clap_vad.core.statistics.histogram import bounded_sum, score_histogram, score_quantile


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any))
def test_weighted_mean_by_numpy_average(counts):
    values = np.random.default_rng(len(counts)).normal(size=(len(counts), 2, 3)).astype(np.float32)
    ours = weighted_mean([{"w": v} for v in values], counts)["w"]
    np.testing.assert_allclose(
        ours, np.average(values.astype(np.float64), axis=0, weights=counts), rtol=1e-5, atol=1e-7
    )


def test_rules_refuse_what_they_are_not_defined_for():
    updates = [{"w": np.ones(5)}] * 4
    with pytest.raises(ValueError, match="zero"):
        weighted_mean(updates, [0, 0, 0, 0])
    with pytest.raises(ValueError, match="too few to remove"):
        trimmed_mean(updates, 2)
    with pytest.raises(ValueError, match="Krum needs 5 updates if 1 are malicious, but there are 4"):
        krum_selection(updates, 1)


@given(st.integers(1, 200), st.integers(0, 499))
def test_malicious_count_is_the_share_rounded_down(n, thousandths):
    assert malicious_count(thousandths / 1000, n) == thousandths * n // 1000


def test_equal_updates_are_chosen_in_participant_order():
    assert krum_selection([{"w": np.ones(3)}] * 7, 2) == [0, 1, 2]


def test_quantiles_of_summed_histograms_are_those_of_all_scores():
    rng = np.random.default_rng(0)
    sites = [1 / (1 + np.exp(-rng.normal(-6, 2, n))) for n in (500, 3000)]
    histogram = sum(score_histogram(s) for s in sites)
    together = np.concatenate(sites)
    assert histogram.sum() == 3500
    for q in (0.5, 0.9, 0.99):
        found = score_quantile(histogram, q)
        assert abs((together <= found).mean() - q) < 2e-3
    assert score_histogram(np.array([0.0, 1.0]))[[0, -1]].tolist() == [1, 1]


@given(st.integers(0, 2**32 - 1), st.integers(3, 6))
def test_above_every_edge_a_site_counts_at_most_as_all_others(seed, sites):
    rows = np.random.default_rng(seed).integers(0, 9, (sites, 12))
    found = bounded_sum(rows)
    assert found.min() >= 0 and found.dtype == rows.dtype
    for edge in range(12):
        above = [int(row[edge:].sum()) for row in rows]
        wanted = sum(min(count, sum(above) - count) for count in above)
        assert int(found[edge:].sum()) == wanted


def test_one_site_moves_a_quantile_no_further_than_half_the_others_tail():
    honest = [score_histogram(np.random.default_rng(n).beta(2, 8, 1000)) for n in range(4)]
    top = np.zeros_like(honest[0])
    top[-1] = 1000
    pooled = np.sum(honest, axis=0)
    for level in (0.9, 0.99, 0.999):
        found = score_quantile(bounded_sum(np.stack([*honest, top])), level)
        assert score_quantile(pooled, level) <= found <= score_quantile(pooled, 1 - (1 - level) / 2) + 1e-9 < 0.99
        assert score_quantile(np.sum([*honest, top], axis=0), level) > 0.999


def test_two_sites_and_sites_without_scores_are_summed():
    rows = np.array([[1, 0, 0], [0, 0, 7], [0, 0, 0]])
    assert bounded_sum(rows).tolist() == [1, 0, 7]
