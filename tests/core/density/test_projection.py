"""Selection, projection and standardisation of a region's features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from clap_vad.core.density.projection import MOST_DIMENSIONS, Projection
from clap_vad.core.statistics.moments import Moments, Normaliser


def features(dim: int, count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(5, 3, (count, dim)).astype(np.float32)


def standardised(projection: Projection, x: np.ndarray) -> Projection:
    return projection.standardised_by(Normaliser.from_moments(Moments.of(projection.rows(x))))


@pytest.mark.parametrize("columns", [None, (3, 0, 5)])
def test_rows_are_the_columns_asked_for_standardised_as_scikit_learn_does(columns):
    x = features(6)
    projection = standardised(Projection.of(6, columns, seed=0), x)
    chosen = x if columns is None else x[:, columns]
    np.testing.assert_allclose(projection.rows(x), StandardScaler().fit_transform(chosen), atol=1e-4)
    assert projection.dim == chosen.shape[1]
    assert x.tobytes() == features(6).tobytes()  # not in place


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_moments_are_those_of_the_numbers_themselves_however_large_they_are(scale):
    """Only standardised numbers are cut at 15: pixels, say, are mostly above that."""
    x = features(4) * np.float32(scale)
    rows = Projection.of(4, None, seed=0).rows(x)
    np.testing.assert_array_equal(rows, x)
    found = standardised(Projection.of(4, None, seed=0), x).rows(x)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-3)


def test_standardised_numbers_are_cut_at_15_deviations():
    x = features(3)
    projection = standardised(Projection.of(3, None, seed=0), x)
    x[0], x[1] = 1e6, -1e6
    assert projection.rows(x)[:2].tolist() == [[15.0] * 3, [-15.0] * 3]


def test_a_constant_dimension_carries_no_information():
    x = features(3)
    x[:, 1] = 7.0
    projection = standardised(Projection.of(3, None, seed=0), x)
    x[0, 1] = 100.0
    assert not projection.rows(x)[:, 1].any()


def test_wide_features_are_projected_so_that_distances_stay_about_what_they_are():
    x = features(2048, count=60)
    projection = Projection.of(2048, None, seed=3)
    rows = projection.projected(x)
    assert rows.shape == (60, MOST_DIMENSIONS) and rows.dtype == np.float32
    pairs = np.triu_indices(60, 1)
    before = np.linalg.norm(x[pairs[0]] - x[pairs[1]], axis=1) / np.sqrt(2048)
    after = np.linalg.norm(rows[pairs[0]] - rows[pairs[1]], axis=1) / np.sqrt(MOST_DIMENSIONS)
    assert np.median(after / before) == pytest.approx(1, abs=0.15)
    assert ((after / before > 0.4) & (after / before < 1.8)).all()
    np.testing.assert_array_equal(rows, Projection.of(2048, None, seed=3).projected(x))
    assert not np.array_equal(rows, Projection.of(2048, None, seed=4).projected(x))


def test_exactly_as_many_numbers_as_there_may_be_are_kept_as_they_are():
    assert Projection.of(MOST_DIMENSIONS, None, 0).matrix is None
    assert Projection.of(MOST_DIMENSIONS + 1, None, 0).dim == MOST_DIMENSIONS
    assert Projection.of(2048, (7, 2000), 0).dim == 2


def test_no_rows_are_no_rows():
    for dim in (4, 100):
        projection = standardised(Projection.of(dim, None, 0), features(dim))
        assert projection.rows(np.zeros((0, dim), np.float32)).shape == (0, projection.dim)
