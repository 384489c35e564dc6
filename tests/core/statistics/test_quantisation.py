"""Stochastic rounding: one of the two neighbours, and on average the value itself."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.core.statistics.quantisation import MOST_STEPS, step_for, stochastic_steps


class Fixed:
    """Gives the same u for every value."""

    def __init__(self, u: float) -> None:
        self._u = u

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, self._u)


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e2), st.integers(0, 2**32))
def test_a_value_becomes_one_of_its_neighbours_or_the_nearest_end(value, step, seed):
    (found,) = stochastic_steps(np.array([value]), step, np.random.default_rng(seed)).tolist()
    steps = max(-127.0, min(127.0, value / step))
    assert found in (math.floor(steps), math.ceil(steps))


@pytest.mark.parametrize("steps", [0.0, 0.25, -0.25, 3.5, 126.75, 127.0, -127.0, -126.125])
def test_it_rounds_up_exactly_as_often_as_the_value_is_far_from_the_lower_neighbour(steps):
    """Over a grid of u instead of draws, in fractions: the expectation itself."""
    grid = [Fraction(2 * i + 1, 128) for i in range(64)]
    found = [int(stochastic_steps(np.array([steps]), 1.0, Fixed(float(u)))[0]) for u in grid]
    assert Fraction(sum(found), len(found)) == Fraction(steps)


def test_many_draws_are_right_on_average():
    rng = np.random.default_rng(0)
    values, step, draws = rng.normal(0, 0.01, 200).astype(np.float32), 0.003, 4000
    mean = np.mean([step * stochastic_steps(values, step, rng) for _ in range(draws)], axis=0)
    deviation = step / 2 / np.sqrt(draws)  # at most: of a coin between two neighbours
    assert np.abs(mean - values).max() < 5 * deviation
    assert abs((mean - values).mean()) < 5 * deviation / np.sqrt(len(values))


def test_a_value_far_below_a_step_is_not_lost_but_rare():
    found = stochastic_steps(np.full(100_000, 0.01), 1.0, np.random.default_rng(1))
    assert set(found.tolist()) == {0, 1}
    assert abs(found.sum() - 1000) < 5 * math.sqrt(1000)


def test_what_is_beyond_the_ends_is_clipped():
    found = stochastic_steps(np.array([1e30, -1e30, 128.0, -127.5]), 1.0, np.random.default_rng(0))
    assert found.dtype == np.int8
    assert found.tolist() == [MOST_STEPS, -MOST_STEPS, MOST_STEPS, -MOST_STEPS]


def test_one_key_gives_one_rounding():
    values = np.random.default_rng(5).normal(size=(3, 4))
    first, second = (stochastic_steps(values, 0.1, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(first, second) and first.shape == (3, 4)


def test_a_step_follows_the_scale_and_is_never_zero():
    assert step_for(2.0) == 4 * step_for(0.5) == 8 * step_for(2.0, 8)
    assert step_for(0.0) > 0
    assert step_for(1.0).dtype == np.float32
