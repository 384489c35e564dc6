"""Distances from a memory against scikit-learn's neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from clap_vad.core.density.memory import NEIGHBOURS, Memory, usual_distance_ratio


@pytest.mark.parametrize(("count", "dims"), [(11, 1), (11, 32), (400, 10)])
def test_distances_are_those_of_scikit_learn(count, dims):
    rng = np.random.default_rng(count)
    rows, asked = (rng.normal(size=(n, dims)).astype(np.float32) for n in (count, 50))
    oracle = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(rows.astype(np.float64))
    memory = Memory(rows)
    np.testing.assert_allclose(memory.distances(asked), oracle.kneighbors(asked)[0].mean(axis=1), rtol=1e-9)
    # Asked for nobody's, scikit-learn judges each row by the others.
    np.testing.assert_allclose(memory.distances_within(), oracle.kneighbors()[0].mean(axis=1), rtol=1e-9)


def test_a_row_stored_twice_is_compared_with_the_others():
    rows = np.repeat(np.random.default_rng(0).normal(size=(40, 3)), 2, axis=0).astype(np.float32)
    expected = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(rows.astype(np.float64)).kneighbors()[0].mean(axis=1)
    np.testing.assert_allclose(Memory(rows).distances_within(), expected, rtol=1e-9)


def test_equal_rows_have_distance_zero():
    memory = Memory(np.full((2000, 4), 1 / 3, np.float32))
    assert not memory.distances_within().any()
    assert not memory.distances(np.full((3, 4), 1 / 3, np.float32)).any()
    np.testing.assert_allclose(memory.distances(np.full((1, 4), 1 / 3 + 1, np.float32)), 2.0, rtol=1e-6)


def test_nobody_asks():
    assert Memory(np.eye(11)).distances(np.zeros((0, 11))).shape == (0,)


def test_how_distances_compare_follows_from_densities_and_numbers_of_rows():
    """Uniform rows, twice as many and in half the space: against the distances themselves."""
    rng, d = np.random.default_rng(1), 3
    usual, own = rng.uniform(0, 1, (2000, d)), rng.uniform(0, 1, (4000, d)) * np.array([0.5, 1, 1])
    expected = np.median(Memory(own).distances_within()) / np.median(Memory(usual).distances_within())
    # Where they lie a density of 2 is known, where the usual ones lie one of 1.
    found = usual_distance_ratio(-math.log(2.0), 0.0, 4000, 2000.0, d)
    assert found == pytest.approx(expected, rel=0.05)
    assert usual_distance_ratio(1.0, 1.0, 100, 100.0, d) == 1


@pytest.mark.parametrize(("ratio", "usual"), [(1e6, -1e6), (-1e6, 1e6), (1e300, -1e300)])
def test_an_implausible_density_still_gives_a_number(ratio, usual):
    assert 0 < usual_distance_ratio(ratio, usual, 11, 1e15, 1) < np.inf
