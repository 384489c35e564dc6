"""Membership by thresholds against scikit-learn; isolation by differences against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from clap_vad.audit.attacks.isolation import (
    difference_of_means,
    difference_of_sums,
    relative_error,
    smallest_differences,
)
from clap_vad.audit.attacks.membership import auc_interval, halves, likelihood_ratio, threshold_signals


def test_the_auc_is_scikit_learns_mean_over_models_and_lies_in_its_interval():
    rng = np.random.default_rng(0)
    members = np.stack([rng.permutation(100) < 60 for _ in range(3)])
    signals = rng.normal(size=members.shape) + 0.5 * members
    area, low, high = auc_interval(signals, members)
    assert area == pytest.approx(np.mean([roc_auc_score(*each) for each in zip(members, signals, strict=True)]))
    assert low < area < high
    assert auc_interval(signals, members) == (area, low, high)


def test_a_signal_without_membership_is_a_coin():
    rng = np.random.default_rng(1)
    members = np.stack([half == side for half in rng.integers(2, size=(2, 80)) for side in (0, 1)])
    covered = 0
    for _ in range(40):
        area, low, high = auc_interval(rng.normal(size=members.shape), members)
        covered += low <= 0.5 <= high
    assert covered >= 34  # of 40 at 95 %; fewer have a chance below 1 in 300
    # Over a half and the other half, what is the same in both models is 50 % exactly, however unlike the videos are.
    area, low, high = auc_interval(np.tile(rng.normal(size=80), (4, 1)), members)
    assert (area, low, high) == pytest.approx((0.5, 0.5, 0.5))


def test_signals_are_minus_the_cross_entropies():
    signals = threshold_signals([np.array([0.2, 0.9]), np.array([0.0, 1.0])])
    assert signals["loss"][0] == pytest.approx((np.log(0.8) + np.log(0.1)) / 2)
    assert signals["confidence"][0] == pytest.approx((np.log(0.8) + np.log(0.9)) / 2)
    assert np.isfinite(signals["loss"]).all()


def test_the_likelihood_ratio_is_that_of_scipys_gaussians():
    rng = np.random.default_rng(2)
    videos, shift = 50, 0.7
    trained_on = np.stack([half == side for half in rng.integers(2, size=(4, videos)) for side in (0, 1)])
    own = rng.uniform(2, 6, videos)  # easy and hard videos
    phi = own + shift * trained_on  # without noise the shadow models tell every parameter

    def scores(logits: np.ndarray) -> list[np.ndarray]:
        return [1 / (1 + np.exp(-np.array([-1, 1]) * value)) for value in logits]

    scored = [scores(each) for each in phi]
    attacked = phi[0] + rng.normal(0, 0.3, videos)
    found = likelihood_ratio(scores(attacked), scored[2:], trained_on[2:])
    np.testing.assert_allclose(found, norm.logpdf(attacked, own + shift) - norm.logpdf(attacked, own), atol=1e-6)


def test_halves_are_random_complements_that_leave_no_participant_without_videos():
    held = {"a": [f"a{i}" for i in range(9)], "b": ["b0", "b1"], "c": ["c0"]}
    seen = set()
    for number in range(20):
        first, second = halves(held, 0, number)
        assert first["c"] == second["c"] == ["c0"]
        for name in ("a", "b"):
            assert sorted(first[name] + second[name]) == held[name]
            assert abs(len(first[name]) - len(second[name])) <= 1
        seen.add(tuple(first["a"]))
    assert len(seen) > 15  # of 252
    assert halves(held, 0, 3) == halves(held, 0, 3) != halves(held, 1, 3)


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
