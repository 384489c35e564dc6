"""C2FPL's coarse stage against a slow transcription of section 2 of methods.md, its p-values against scipy."""

from __future__ import annotations

import math
import statistics
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from clap_vad.core.pseudo_labels.c2fpl_segregation import coarse_anomalous_videos, magnitude_summary, p_values


def two_groups(calm: int, loud: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal([5, 1], [1, 0.3], (calm, 2)), rng.normal([20, 9], [2, 2], (loud, 2))])


def mixture(rows: np.ndarray) -> GaussianMixture:
    return GaussianMixture(2, covariance_type="spherical", max_iter=150, random_state=0).fit(rows)


def slow_split(summaries: np.ndarray, eta: float, named: str) -> list[bool]:
    """The bags as lists of video numbers; of n normal videos the least likely ``0.03 (n - 1)``, rounded up, move."""
    component = mixture(summaries).predict(summaries)
    bags = [[v for v in range(len(summaries)) if component[v] == k] for k in (0, 1)]
    normal, anomalous = bags
    if named == "smaller" and len(bags[0]) < len(bags[1]):
        anomalous, normal = bags
    while len(normal) > 1 and len(anomalous) / len(normal) < eta:
        likelihood = mixture(summaries[normal]).score_samples(summaries[normal])
        by_likelihood = sorted(range(len(normal)), key=lambda i: likelihood[i])
        moving = {normal[i] for i in by_likelihood[: max(1, math.ceil(0.03 * (len(normal) - 1)))]}
        anomalous = anomalous + sorted(moving)
        normal = [v for v in normal if v not in moving]
    return [v in anomalous for v in range(len(summaries))]


@pytest.mark.parametrize("named", ["smaller", "component-1"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.5])
@pytest.mark.parametrize(("calm", "loud", "seed"), [(25, 5, 0), (25, 5, 12), (5, 25, 0), (4, 1, 0)])
def test_bags_are_those_of_the_slow_version(named, eta, calm, loud, seed):
    summaries = two_groups(calm, loud)[np.random.default_rng(seed).permutation(calm + loud)]
    ours = coarse_anomalous_videos(summaries, eta, named)
    assert ours.tolist() == slow_split(summaries, eta, named)
    assert eta == 0 or ours.sum() >= eta * (~ours).sum()


def test_several_videos_move_at_once_and_the_outermost_first():
    summaries = two_groups(120, 8)
    kept = coarse_anomalous_videos(summaries, 0.0)
    assert kept.tolist() == [False] * 120 + [True] * 8
    moved = coarse_anomalous_videos(summaries, 0.09) & ~kept
    assert moved.sum() == 4  # 0.03 * 119, rounded up: more at once than the three that 0.09 asks for
    likelihood = mixture(summaries[:120]).score_samples(summaries[:120])
    np.testing.assert_array_equal(np.flatnonzero(moved), np.sort(np.argsort(likelihood)[:4]))


def test_paper_and_release_name_different_clusters():
    """The smaller cluster is anomalous by the paper, component 1 by the release, whichever that is."""
    sizes = set()
    for seed in (0, 4):
        order = np.random.default_rng(seed).permutation(25)
        summaries = two_groups(14, 11)[order]
        component = mixture(summaries).predict(summaries)
        np.testing.assert_array_equal(coarse_anomalous_videos(summaries, 0.0, "smaller"), order >= 14)
        np.testing.assert_array_equal(coarse_anomalous_videos(summaries, 0.0, "component-1"), component == 1)
        sizes.add(int(component.sum()))
    assert sizes == {11, 14}


def test_at_equal_size_component_one_is_anomalous():
    summaries = two_groups(12, 12)
    np.testing.assert_array_equal(coarse_anomalous_videos(summaries), mixture(summaries).predict(summaries) == 1)


def test_one_video_cannot_be_split_and_of_two_one_is_normal():
    assert coarse_anomalous_videos(np.ones((1, 2)), 99.0).tolist() == [False]
    assert coarse_anomalous_videos(np.ones((0, 2))).tolist() == []
    for eta in (0.0, 1.0, 99.0):
        assert coarse_anomalous_videos(np.array([[1.0, 0.1], [9.0, 5.0]]), eta).sum() == 1


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 1e9])
@pytest.mark.parametrize("videos", [2, 3, 11])
def test_identical_videos_move_one_by_one_until_there_are_enough(videos, eta):
    anomalous = coarse_anomalous_videos(np.full((videos, 2), 3.0), eta)
    expected = next(n for n in range(videos) if n == videos - 1 or n >= eta * (videos - n))
    assert anomalous.sum() == expected


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=12),
    st.sampled_from([0.0, 0.3, 1.0, 50.0]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_one_video_always_stays_normal_and_there_are_enough_of_the_others(pairs, eta):
    """Summaries with many ties, where a mixture may leave one of its components empty."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)  # none of them reaches the user
        anomalous = coarse_anomalous_videos(np.array(pairs, float), eta)
    normal = (~anomalous).sum()
    assert normal >= 1
    assert normal == 1 or anomalous.sum() >= eta * normal


def test_the_order_of_videos_decides_nothing_but_the_order():
    summaries = two_groups(20, 5)
    order = np.random.default_rng(1).permutation(25)
    np.testing.assert_array_equal(
        coarse_anomalous_videos(summaries[order], 0.0), coarse_anomalous_videos(summaries, 0.0)[order]
    )


def test_p_values_are_scipys_two_sided_tails():
    m = np.random.default_rng(0).normal(5, 3, 200)
    expected = 2 * norm.sf(np.abs(m - 4.0), scale=math.sqrt(2.5))
    np.testing.assert_allclose(p_values(m, 17, 4.0, 2.5), expected, rtol=1e-10)
    far = p_values(np.array([1e3, 1e9]), 17, 4.0, 2.5)
    assert far.tolist() == [0.0, 0.0]


def test_p_values_without_spread_or_without_normal_segments_are_defined():
    m = np.array([3.999, 4.0, 4.01, 5.0])
    found = p_values(m, 1, 4.0, 0.0)
    np.testing.assert_allclose(found, 2 * norm.sf(np.abs(m - 4.0), scale=math.sqrt(1e-6 * 16 + 1e-12)), rtol=1e-8)
    assert found[1] == 1.0
    assert np.isfinite(p_values(m - 4, 3, 0.0, 0.0)).all()
    np.testing.assert_array_equal(p_values(m.astype(np.float32), 0, 0.0, 0.0), m.astype(np.float32))


def test_summary_is_mean_and_sample_variance():
    m = np.random.default_rng(0).normal(5, 3, 33)
    np.testing.assert_allclose(magnitude_summary(m), [statistics.fmean(m), statistics.variance(m)], rtol=1e-12)
    assert magnitude_summary(np.array([7.0])).tolist() == [7.0, 0.0]


def test_of_equally_likely_videos_the_first_moves():
    """Two components of two videos each: all four are equally likely but for rounding."""
    summaries = np.array([[0.0, 0.0], [0.0, 1.0], [40.0, 0.0], [40.0, 1.0], [900.0, 900.0], [900.0, 901.0]])
    assert coarse_anomalous_videos(summaries, eta=1.0).tolist() == [True, False, False, False, True, True]


def test_where_all_videos_are_of_one_component_none_is_anomalous(monkeypatch):
    for component in (0, 1):
        alike = (np.full(5, component), np.zeros(5))
        monkeypatch.setattr(
            "clap_vad.core.pseudo_labels.c2fpl_segregation.two_components", lambda rows, covariance, alike=alike: alike
        )
        for naming in ("smaller", "component-1"):
            assert not coarse_anomalous_videos(np.zeros((5, 2)), eta=0.0, anomalous_cluster=naming).any()
