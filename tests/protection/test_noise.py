"""Noise from a key: as the normal distribution has it, the same again for the same key, and on its grid."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import kstest

from clap_vad.protection.noise import gaussian_noise, keyed_digest, secret_generator
from clap_vad.protection.packing import pack

COUNT = 100_000
GRID = 2.0**-10
finite = st.floats(-1e6, 1e6)


def key(number: int) -> bytes:
    return hashlib.sha256(bytes([number])).digest()


@pytest.mark.parametrize("deviation", [1.0, 0.003, 1e4])
def test_it_is_normal(deviation):
    noise = gaussian_noise(key(1), np.zeros(COUNT), deviation)
    assert kstest(noise / deviation, "norm").pvalue > 0.01
    assert noise.std() == pytest.approx(deviation, rel=5 / np.sqrt(2 * COUNT))
    assert abs(noise.mean()) < 5 * deviation / np.sqrt(COUNT)


def test_its_tails_are_there():
    """What decides delta: beyond three and four standard deviations, on both sides."""
    noise = gaussian_noise(key(2), np.zeros(10 * COUNT), 1.0)
    for side in (noise, -noise):
        assert (side > 3).mean() == pytest.approx(0.00135, rel=0.15)
        assert (side > 4).mean() == pytest.approx(3.17e-5, rel=0.9)
    assert np.isfinite(noise).all()


def test_the_same_key_gives_the_same_noise_and_another_key_independent_noise():
    values = np.linspace(-3, 3, COUNT)
    one, again, other = (gaussian_noise(key(number), values, 2.0) - values for number in (3, 3, 4))
    assert np.array_equal(one, again)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(COUNT)
    assert abs(np.corrcoef(np.abs(one), np.abs(other))[0, 1]) < 5 / np.sqrt(COUNT)
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 5 / np.sqrt(COUNT)
    flipped = gaussian_noise(key(3)[:-1] + bytes([key(3)[-1] ^ 1]), values, 2.0) - values
    assert abs(np.corrcoef(one, flipped)[0, 1]) < 5 / np.sqrt(COUNT)


def test_the_same_key_gives_the_same_noise_whatever_it_hides_and_however_large():
    """But for the grid: so no key may ever be used for two answers."""
    for values in (np.zeros(50), np.arange(50.0)):
        noise = gaussian_noise(key(5), values, 3.0) - values
        assert np.abs(noise - gaussian_noise(key(5), np.zeros(50), 3.0)).max() <= 1.0001 * 3.0 * GRID
        assert np.array_equal(noise[:20], gaussian_noise(key(5), values[:20], 3.0) - values[:20])


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, st.integers(1, 20), elements=finite), st.sampled_from([1.0, 0.1, 3.7, 1e-3, 812.5]))
def test_noisy_values_lie_on_the_grid(values, deviation):
    steps = gaussian_noise(key(6), values, deviation) / (deviation * GRID)
    np.testing.assert_allclose(steps, np.rint(steps), rtol=1e-15, atol=1e-9)


def test_two_neighbours_share_all_values_that_can_come_out():
    """The last digits of a sum, which tell of its parts, are gone."""
    values = np.random.default_rng(0).normal(size=2000)
    grids = [gaussian_noise(key(7), v, 1.0) for v in (values, values + 1 / 3, values * np.pi)]
    for noisy in grids:
        assert np.array_equal(noisy, np.rint(noisy * 1024) / 1024)


def test_without_a_deviation_values_stay_as_they_are():
    values = np.random.default_rng(1).normal(size=(3, 4))
    assert np.array_equal(gaussian_noise(key(8), values, 0.0), values)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 3), (4, 0, 2)])
def test_shapes_stay(shape):
    noisy = gaussian_noise(key(9), np.zeros(shape), 1.0)
    assert (noisy.shape, noisy.dtype) == (shape, np.float64)


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.lists(st.text(max_size=8) | st.binary(max_size=8), max_size=4))
def test_a_keyed_digest_is_the_standard_librarys_hmac(secret, purpose):
    assert keyed_digest(secret, *purpose) == hmac.new(secret, pack(*purpose), hashlib.sha256).digest()


def test_draws_that_are_not_sent_depend_on_the_secret_and_on_what_they_are_for():
    def drawn(secret: bytes, *purpose: str) -> np.ndarray:
        return secret_generator(secret, *purpose).random(1000)

    first = drawn(b"a", "video-1")
    assert np.array_equal(first, drawn(b"a", "video-1"))
    assert kstest(first, "uniform").pvalue > 0.01
    for other in (drawn(b"b", "video-1"), drawn(b"a", "video-2"), drawn(b"a", "video-", "1")):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.2
