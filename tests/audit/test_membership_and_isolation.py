"""Membership by thresholds against scikit-learn; isolation by differences against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clap_vad.audit.isolation import difference_of_means, difference_of_sums, relative_error, smallest_differences
from clap_vad.audit.membership import auc_interval, video_signals


def test_the_area_is_scikit_learns_and_lies_in_its_interval():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0.5, 1, 60), rng.normal(0, 1, 40)
    area, low, high = auc_interval(members, others)
    truth = np.repeat([1, 0], [60, 40])
    assert area == pytest.approx(roc_auc_score(truth, np.concatenate([members, others])))
    assert low < area < high
    assert auc_interval(members, others) == (area, low, high)


def test_signals_are_minus_the_cross_entropies():
    signals = video_signals([np.array([0.2, 0.9]), np.array([0.0, 1.0])])
    assert signals["loss"][0] == pytest.approx((np.log(0.8) + np.log(0.1)) / 2)
    assert signals["confidence"][0] == pytest.approx((np.log(0.8) + np.log(0.9)) / 2)
    assert np.isfinite(signals["loss"]).all()


def test_one_participants_part_comes_out_of_two_sums_and_two_means():
    rng = np.random.default_rng(1)
    parts, counts = rng.normal(size=(4, 6)), np.array([3, 5, 2, 4])
    sums = [{"sum": (counts[:n, None] * parts[:n]).sum(axis=0)} for n in (4, 3)]
    assert relative_error(difference_of_sums(*sums), {"sum": 4 * parts[3]}) < 1e-12
    means = [{"sum": each["sum"] / counts[:n].sum()} for n, each in zip((4, 3), sums, strict=True)]
    assert relative_error(difference_of_means(*means, (14, 10)), {"sum": parts[3]}) < 1e-12
    with pytest.raises(ValueError, match="more segments"):
        difference_of_means(*means, (10, 10))


def test_cohorts_that_differ_are_counted():
    assert smallest_differences([("a", "b", "c")] * 3) == (1, None)
    assert smallest_differences([("a", "b", "c"), ("a", "b", "d"), ("c", "b", "a")]) == (2, 2)
    assert smallest_differences([]) == (0, None)


def test_an_error_against_nothing_is_infinite():
    assert relative_error({"u": np.ones(2)}, {"u": np.zeros(2)}) == float("inf")
