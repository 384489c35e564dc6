"""The mathematics of a malicious coordinator, against known rows."""

from __future__ import annotations

import numpy as np
import pytest

from clap_vad.audit.attacks.bisection import ExtremeSearch, directions, extreme_rows, halves, slabs
from clap_vad.audit.attacks.cells import CellSums, about, mean_sums, padded
from clap_vad.audit.attacks.recovery import hits
from clap_vad.audit.attacks.slabs import CellSearch, averaged_guesses
from clap_vad.core.density.bounded_density import SHARES, BoundedSums, bounded_sums, radius_for
from clap_vad.core.density.gaussian_mixture import Mixture, posteriors

DIM = 5
RADIUS = radius_for(DIM, noise=False)


def some_rows(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, DIM)) * rng.gamma(2, 0.5, (count, 1))).astype(np.float32)


def asked(mixture: Mixture, rows: np.ndarray, noise: float = 0.0, seed: int = 0) -> BoundedSums:
    assert mixture.possible()  # a site would refuse any other
    sums = bounded_sums(mixture, rows, np.ones(len(rows)), RADIUS)
    rng = np.random.default_rng(seed)
    return BoundedSums(
        *(part + noise * rng.standard_normal(part.shape) for part in (sums.mass, sums.first, sums.second))
    )


def test_the_sums_of_a_cell_are_undone():
    rows, rng = some_rows(300), np.random.default_rng(1)
    root = rng.standard_normal((3, DIM, DIM))
    covariances = root @ np.swapaxes(root, 1, 2) + 4 * np.eye(DIM)  # wide: no row is shortened
    mixture = padded(Mixture(np.array([0.2, 0.3, 0.5]), rng.standard_normal((3, DIM)), covariances))
    found, shares = CellSums(mixture, asked(mixture, rows), RADIUS), posteriors(mixture, rows.astype(float))
    for cell in range(3):
        mean = np.average(rows, axis=0, weights=shares[:, cell])
        spread = np.cov(rows.T.astype(float), aweights=shares[:, cell], ddof=0)
        np.testing.assert_allclose(found.mass[cell], shares[:, cell].sum(), rtol=1e-2)
        np.testing.assert_allclose(found.gaussian(cell)[0], mean, atol=1e-2)
        np.testing.assert_allclose(found.gaussian(cell)[1], spread, atol=3e-2)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_or_two_rows_of_a_cell_are_read_and_no_more(count):
    rows = some_rows(count, seed=4)
    mixture = padded(Mixture(np.ones(1), np.zeros((1, DIM)), 9 * np.eye(DIM)[None]))
    read = CellSums(mixture, asked(mixture, rows), RADIUS).opened(0, whole=True)
    assert len(read) == (count if count < 3 else 0)
    assert hits(read, rows, 1e-6).sum() == len(read)


def test_what_is_known_is_taken_off():
    rows = some_rows(40)
    mixture = about(some_rows(64, seed=9).astype(float), 1.0)
    found = CellSums(mixture, asked(mixture, rows), RADIUS)
    found.without(rows[:39], np.ones(39))
    rest = CellSums(mixture, asked(mixture, rows[39:]), RADIUS)
    np.testing.assert_allclose(found.mass, rest.mass, atol=1e-3)  # of a row a site leaves out shares below 1e-4


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 150, 200), (3.0, 0, 0)])
def test_slabs_bring_rows_back_and_not_under_noise(noise, least, most):
    rows = some_rows(200)
    search = CellSearch(DIM, RADIUS, 2.0, exact=noise == 0, whole=True, rng=np.random.default_rng(2))
    for number in range(21):
        search.answered(asked(search.question(), (2 * rows).astype(np.float32), noise, seed=number))
    assert least <= hits(search.guesses / 2, rows.astype(float), 0.01).sum() <= most


def test_the_same_question_again_and_again_has_less_noise():
    rows, calls = some_rows(200), iter(range(100))
    mixture = about(rows[:8].astype(float), 1.0)
    sums = mean_sums(lambda: asked(mixture, rows, 1.0, seed=next(calls)), 25)
    assert next(calls) == 25
    apart = (sums.mass - asked(mixture, rows).mass).std()
    assert 0.1 < apart < 0.3  # 1 / sqrt(25)


def test_averages_find_where_many_rows_are_the_same():
    rows = np.concatenate([some_rows(300), np.tile(np.float32([1.5, -1, 0.5, 2, -0.5]), (300, 1))])
    mixture, count = about(some_rows(64, seed=7).astype(float), 1.0), iter(range(100))
    guesses = averaged_guesses(
        lambda mixture: asked(mixture, rows, 1.0, seed=next(count)),
        mixture,
        20,
        radius=RADIUS,
        scale=1.0,
        rng=np.random.default_rng(3),
    )
    assert next(count) == 20
    assert hits(guesses, rows[-1:].astype(float), 0.05).all()


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 2.0])
def test_halves_count_what_lies_beyond(threshold):
    rows = some_rows(500)
    for along in directions(DIM):
        answered = asked(halves(along, threshold), rows).mass[1] / SHARES[0]
        assert abs(answered - (rows @ along > threshold).sum()) < 1


def test_slabs_along_a_number_are_its_histogram():
    rows = some_rows(500)
    answered = asked(slabs(np.eye(DIM)[1]), rows).mass / SHARES[0]
    held = np.histogram(rows[:, 1], np.linspace(-15, 15, 65))[0]
    assert np.abs(answered - held).sum() < 0.2 * held.sum()  # edges are soft


def test_the_furthest_rows_are_found_without_noise_alone():
    rows = some_rows(400)
    wanted = extreme_rows(rows.astype(float))
    for noise, least, most in ((0.0, 4, len(wanted)), (3.0, 0, 0)):
        search = ExtremeSearch(DIM, RADIUS, noise == 0, 21)
        for number in range(21):
            search.answered(asked(search.question(), rows, noise, seed=number))
        assert least <= hits(search.guesses, wanted, 0.05).sum() <= most
