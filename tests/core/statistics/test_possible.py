"""What sums can be: sums over real rows always, sums that no rows have never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.statistics.possible import counted, moments, outer_products

numbers = st.floats(-1e6, 1e6, width=32)
rows = st.lists(st.tuples(numbers, numbers, st.floats(0, 1)), min_size=0, max_size=30)


def sums_of(data: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By a loop: weight, weighted sum, weighted sum of products."""
    weight, total, products = 0.0, np.zeros(2), np.zeros((2, 2))
    for x, y, w in data:
        weight += w
        total += w * np.array([x, y])
        products += w * np.outer([x, y], [x, y])
    return np.array(weight), total, products


@given(rows)
def test_moments_of_numbers_are_plausible(data):
    values = np.array([[x, y] for x, y, _ in data]).reshape(-1, 2)
    assert moments(len(values), values.sum(axis=0), np.square(values).sum(axis=0)) is None


@given(rows, st.floats(1e-3, 0.9))
def test_a_smaller_sum_of_squares_cannot(data, part):
    values = np.array([x for x, _, _ in data if x])
    if len(values):
        least = values.sum() ** 2 / len(values)
        assert (moments(len(values), values.sum(), part * least) is None) == (least < 1e-300)


@pytest.mark.parametrize("error", [0.0, 1e-6])
@given(data=rows)
def test_products_of_rows_are_plausible_also_after_rounding(error, data):
    rng = np.random.default_rng(len(data))
    weight, total, products = (value + error * rng.uniform(-0.5, 0.5, value.shape) for value in sums_of(data))
    products = (products + products.T) / 2
    assert outer_products(weight, total, products, error, centred=True) is None
    assert outer_products(weight, total, products, error) is None


@given(rows)
def test_products_with_a_negative_variance_cannot(data):
    weight, total, products = sums_of(data)
    if weight > 0.1:
        turned = products - (1.0 + 2 * np.trace(products)) * np.array([[0.5, 0.5], [0.5, 0.5]])
        assert outer_products(weight, total, turned) == "a sum of products has a negative variance"
        assert outer_products(weight, total, turned, 1e-9, centred=True) is not None


def test_a_variance_that_only_the_mean_shows():
    """Two videos whose mean is 3 have a sum of squares of 18 at least."""
    weight, total = np.array(2.0), np.array([6.0, 0.0])
    assert outer_products(weight, total, np.diag([17.0, 1.0])) is None
    assert outer_products(weight, total, np.diag([17.0, 1.0]), centred=True) is not None
    assert outer_products(weight, total, np.diag([18.0, 1.0]), centred=True) is None


def test_what_weighs_nothing_adds_nothing_up():
    assert moments(0, np.zeros(3), np.zeros(3)) is None
    assert moments(0, np.array([0.0, 1e-9]), np.zeros(2)) is not None
    assert outer_products(np.array(0.0), np.zeros(2), np.zeros((2, 2)), centred=True) is None
    assert outer_products(np.array(0.0), np.zeros(2), np.eye(2)) is not None
    assert outer_products(np.array(1e-300), np.ones(2), np.eye(2), centred=True) is not None


def test_the_largest_numbers_of_a_message_are_checked_without_overflow():
    with np.errstate(all="raise", under="ignore"):
        assert moments(2.0**40, np.full(2, 1e30), np.full(2, 1e30)) is not None
        assert outer_products(np.full(2, 1e30), np.full((2, 2), 1e30), np.full((2, 2, 2), 1e30), centred=True) is None


def test_products_that_are_not_symmetric_are_none():
    assert outer_products(np.array(1.0), np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]])) is not None


def test_parts_add_up_to_their_whole():
    assert counted(np.array([0.25, 2.75]), 3) is None and counted(np.zeros(0), 0) is None
    assert counted(np.array([0.25, 2.75]), 4) is not None
    assert counted(np.array([0.25, 2.76]), 3, error=0.01) is None
