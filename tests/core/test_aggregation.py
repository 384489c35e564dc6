"""Aggregation and score histograms against the obvious."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.aggregation import weighted_mean
from clap_vad.core.histogram import score_histogram, score_quantile
from clap_vad.federation.strategy import STRATEGIES


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any))
def test_weighted_mean_by_numpy_average(counts):
    values = np.random.default_rng(len(counts)).normal(size=(len(counts), 2, 3)).astype(np.float32)
    ours = weighted_mean([{"w": v} for v in values], counts)["w"]
    np.testing.assert_allclose(
        ours, np.average(values.astype(np.float64), axis=0, weights=counts), rtol=1e-5, atol=1e-7
    )


def test_fedavg_of_models_is_their_weighted_mean_and_nobody_trained_changes_nothing():
    rng = np.random.default_rng(0)
    start = {"w": rng.normal(size=5).astype(np.float32)}
    local = [rng.normal(size=5).astype(np.float32) for _ in range(3)]
    updates = [{"w": w - start["w"]} for w in local]
    fedavg = STRATEGIES["fedavg"]()
    expected = np.average(np.array(local, np.float64), axis=0, weights=[1, 2, 5])
    np.testing.assert_allclose(fedavg.aggregate(start, updates, [1, 2, 5])["w"], expected, rtol=1e-5)
    np.testing.assert_array_equal(fedavg.aggregate(start, updates, [0, 0, 0])["w"], start["w"])
    with pytest.raises(ValueError, match="zero"):
        weighted_mean(updates, [0, 0, 0])


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
