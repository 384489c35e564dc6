"""Evidence along objects and over time against slow loops and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from clap_vad.core.density.score_aggregation import along_objects, over_regions, over_time, squashed


def slow_along(surprise: np.ndarray, valid: np.ndarray, gap: int, causal: bool) -> np.ndarray:
    """Object by object, segment by segment."""
    result = np.zeros(surprise.shape)
    T, C = surprise.shape
    for crop in range(C):
        objects: list[list[int]] = []
        for t in range(T):
            if valid[t, crop]:
                if not objects or t - objects[-1][-1] - 1 > gap:
                    objects.append([])
                objects[-1].append(t)
        for times in objects:
            for t in times:
                near = sorted(surprise[s, crop] for s in times if -12 <= s - t <= (0 if causal else 12))
                kept = near[: math.ceil(0.85 * len(near))]
                result[t, crop] = sum(kept) / len(kept)
    return result


def crops(seed: int, T: int = 70, C: int = 4, present: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(T, C)), rng.random((T, C)) < present


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("present", [0.0, 0.15, 0.5, 1.0])
def test_smoothing_along_objects_equals_a_slow_loop(gap, present, causal):
    surprise, valid = crops(gap, present=present)
    found = along_objects(surprise, valid, gap, causal)
    np.testing.assert_allclose(found, slow_along(surprise, valid, gap, causal), rtol=1e-12)
    assert not found[~valid].any()


def test_a_longer_absence_makes_another_object():
    surprise, valid = np.full((7, 1), 1.0), np.ones((7, 1), bool)
    surprise[0] = 9.0
    valid[1:5] = False  # absent for 4
    assert along_objects(surprise, valid, gap=4)[:, 0].tolist() != along_objects(surprise, valid, gap=3)[:, 0].tolist()
    assert along_objects(surprise, valid, gap=3)[:, 0].tolist() == [9, 0, 0, 0, 0, 1, 1]


def test_one_slip_in_a_long_track_does_not_show():
    surprise, valid = np.ones((60, 1)), np.ones((60, 1), bool)
    surprise[30] = 1000.0
    np.testing.assert_allclose(along_objects(surprise, valid, 3), 1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.integers(0, 69), st.integers(0, 3))
def test_what_comes_later_does_not_change_causal_evidence(seed, now, gap):
    surprise, valid = crops(seed)
    other, shown = crops(seed + 1000)
    changed, seen = surprise.copy(), valid.copy()
    changed[now + 1 :], seen[now + 1 :] = 100 * other[now + 1 :], shown[now + 1 :]
    for one, two in (
        (along_objects(surprise, valid, gap, True), along_objects(changed, seen, gap, True)),
        (over_time(surprise[:, 0], 2.0, True), over_time(changed[:, 0], 2.0, True)),
    ):
        np.testing.assert_array_equal(one[: now + 1], two[: now + 1])
    cut = over_time(surprise[: now + 1, 0], 2.0, True)
    np.testing.assert_allclose(over_time(surprise[:, 0], 2.0, True)[: now + 1], cut, rtol=1e-12)


def test_a_segment_has_the_score_of_its_largest_valid_region():
    surprise = np.array([[1.0, 5.0], [2.0, 3.0], [4.0, 7.0]])
    valid = np.array([[True, False], [True, True], [False, False]])
    assert over_regions(surprise, valid).tolist() == [1, 3, 0]
    assert over_regions(surprise, None).tolist() == [5, 3, 7]
    assert over_regions(np.where(valid, surprise, np.nan), valid).tolist() == [1, 3, 0]


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.083, 5.0])
def test_within_a_video_the_mean_over_time_is_scipys_gaussian(sigma):
    surprise = np.random.default_rng(0).exponential(size=200)
    reach = math.ceil(4 * sigma)
    expected = gaussian_filter1d(surprise, sigma, mode="constant", radius=reach)
    found = over_time(surprise, sigma)
    np.testing.assert_allclose(found[reach:-reach], expected[reach:-reach], rtol=1e-12)
    weight = gaussian_filter1d(np.ones(200), sigma, mode="constant", radius=reach)
    np.testing.assert_allclose(found, expected / weight, rtol=1e-12)  # at the ends, the weights sum to 1 again


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("T", "sigma"), [(1, 2.0), (2, 2.0), (5, 2.0), (40, 2.0), (30, 100.0), (9, 0.01), (9, 0.0)])
def test_the_mean_over_time_is_that_of_a_slow_loop_however_short_the_video(T, sigma, causal):
    surprise = np.random.default_rng(T).exponential(size=T)
    expected = []
    for t in range(T):
        w = np.array([np.exp(-0.5 * ((s - t) / sigma) ** 2) if sigma else float(s == t) for s in range(T)])
        w[[abs(s - t) > math.ceil(4 * sigma) or (causal and s > t) for s in range(T)]] = 0
        expected.append(w @ surprise / w.sum())
    np.testing.assert_allclose(over_time(surprise, sigma, causal), expected, rtol=1e-10)


def test_a_constant_stays_what_it_is_and_millions_of_frames_per_second_do_no_harm():
    for causal in (False, True):
        np.testing.assert_allclose(over_time(np.full(50, 3.0), 2.0, causal), 3.0)
        np.testing.assert_allclose(over_time(np.full(50, 3.0), 1e12, causal), 3.0)


def test_videos_without_segments_and_segments_without_regions():
    none = np.zeros((0, 3))
    assert along_objects(none, none.astype(bool), 3).shape == (0, 3)
    assert over_regions(none, none.astype(bool)).shape == over_regions(none, None).shape == (0,)
    assert over_time(np.zeros(0), 2.0).shape == over_time(np.zeros(0), 0.0, True).shape == (0,)
    assert over_regions(np.zeros((4, 0)), None).tolist() == [0] * 4
    assert along_objects(np.zeros((4, 0)), np.zeros((4, 0), bool), 3).shape == (4, 0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20))
def test_scores_are_in_the_order_of_surprise_and_their_logit_is_its_logarithm(values):
    surprise = np.sort(np.array(values))
    found = squashed(surprise)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= 0).all()
    middle = (surprise > 1e-3) & (surprise < 1e3)
    s = found[middle].astype(np.float64)
    np.testing.assert_allclose(np.log(s / (1 - s)), np.log(surprise[middle]), atol=1e-3)
