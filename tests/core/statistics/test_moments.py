"""Which common normalisation may be that of data that a site's rows are a part of."""

from __future__ import annotations

import numpy as np
import pytest

from clap_vad.core.statistics.moments import Moments, Normaliser, near, within_reach


def test_near_is_about_what_a_part_of_the_data_allows():
    """Any part of more than a 900th of all rows passes, whatever the rest is; oracle: the sum of all of it."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        spread, shift = 10.0 ** rng.uniform(-3, 3.5, 4), 10.0 ** rng.uniform(-3, 3.5, 4)
        own = rng.normal(0, 1, (40, 4))
        rest = shift + spread * rng.normal(0, 1, (rng.integers(1, 800 * 40), 4))
        common = Normaliser.from_moments(Moments.of(np.concatenate([own, rest]).astype(np.float32)))
        moments = Moments.of(own.astype(np.float32))
        assert within_reach(moments, common)
        scaled = (own - common.mean) * common.scale
        assert near(moments, common) == bool((scaled.std(axis=0) >= 1e-3).all())


ROWS = np.random.default_rng(1).normal(3.0, [1.0, 10.0, 0.1, 1e-3], (100, 4)).astype(np.float32)
HONEST = Normaliser.from_moments(Moments.of(ROWS))


@pytest.mark.parametrize(
    ("change", "is_near", "reaches"),
    [
        (lambda mean, scale: (mean, scale), True, True),
        (lambda mean, scale: (mean + 20 / scale, scale), True, True),
        (lambda mean, scale: (mean + np.array([0, 31 / scale[1], 0, 0]), scale), False, False),
        (lambda mean, scale: (mean, scale * [1, 1, 31, 1]), False, False),
        (lambda mean, scale: (mean, np.full(4, 3e38)), False, False),
        (lambda mean, scale: (mean, scale * [1, 0, 1, 1]), False, True),
        (lambda mean, scale: (mean, scale * [1, 1e-2, 1, 1]), True, True),
        (lambda mean, scale: (mean, scale * [1, 9e-4, 1, 1]), False, True),
        (lambda mean, scale: (mean + np.array([1e30, 0, 0, 0]), scale * [1e-30, 1, 1, 1]), False, True),
    ],
)
def test_constants_that_reach_too_far_or_scale_to_nothing(change, is_near, reaches):
    sent = Normaliser(*(value.astype(np.float32) for value in change(HONEST.mean, HONEST.scale.astype(np.float64))))
    assert near(Moments.of(ROWS), sent) == is_near
    assert within_reach(Moments.of(ROWS), sent) == reaches


def test_a_dimension_without_variance_one_in_twenty_and_a_handful_of_rows_may_be_scaled_to_nothing():
    nothing = Normaliser(HONEST.mean, np.zeros(4, np.float32))
    assert near(Moments.of(np.full((50, 4), 2.5, np.float32)), nothing)
    assert near(Moments.of(ROWS[:29]), nothing)
    assert not near(Moments.of(ROWS[:30]), nothing)
    assert near(Moments.zero(4), nothing)
    many = np.random.default_rng(2).normal(0, 1, (100, 40)).astype(np.float32)
    scale = np.ones(40, np.float32)
    for odd, expected in ((2, True), (3, False)):
        scale[:odd] = 0
        assert near(Moments.of(many), Normaliser(np.zeros(40, np.float32), scale)) == expected
