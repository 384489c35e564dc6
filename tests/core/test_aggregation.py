"""Aggregation and score histograms against the obvious."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.aggregation import weighted_mean
from clap_vad.core.histogram import score_histogram, score_quantile
from clap_vad.core.robust import krum_selection, malicious_count, trimmed_mean


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
    with pytest.raises(ValueError, match="leave none"):
        trimmed_mean(updates, 2)
    with pytest.raises(ValueError, match="Krum needs 5 updates where 1 are malicious; 4 are there"):
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
