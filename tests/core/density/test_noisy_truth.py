"""Honest noisy sums are plausible, malicious ones are not, and one site has little influence on many."""

import numpy as np
import pytest

from clap_vad.core.density import bounded_rows, noisy_truth
from clap_vad.core.density.bounded_density import bounded_sums, radius_for
from clap_vad.core.density.gaussian_mixture import CUT, LEAST_VARIANCE, Mixture, reseeded, starting_mixture

D, N = 5, 400


def rows(seed, n=N):
    return (np.random.default_rng(seed).standard_normal((n, D)) * [1, 20, 0.1, 3, 1] + 2).astype(np.float32)


def mixture(rng, k=8):
    return Mixture(np.full(k, 1 / k), rng.standard_normal((k, D)), np.tile(np.eye(D), (k, 1, 1)))


def noisy(rng, value, noise):
    return np.asarray(value + noise * rng.standard_normal(np.shape(value)))


@pytest.mark.parametrize("noise", [0.0, 0.01, 3.0, 100.0])
def test_honest_sums_are_plausible_for_any_noise(noise):
    rng = np.random.default_rng(1)
    for seed in range(60):
        own = rows(seed, n=seed * 7)  # none, too
        weights = np.ones(len(own))
        sizes = noisy(rng, bounded_rows.size_sums(own, weights), noise)
        assert noisy_truth.histograms(sizes, noise) is None
        found = bounded_rows.moment_sums(own, weights, np.array([1.0, 20, 0.1, 3, 1]), 3.0)
        assert noisy_truth.moments(**{k: noisy(rng, v, noise) for k, v in found.items()}, noise=noise) is None
        sums = bounded_sums(mixture(rng), own, weights, radius_for(D, True))
        parts = [noisy(rng, part, noise) for part in (sums.mass, sums.first, sums.second)]
        assert noisy_truth.steps(*parts, noise=noise) is None


HISTOGRAMS = {
    "less than none": lambda b: b - 50,
    "one number of more crops": lambda b: b * np.array([[1.0], [1], [1], [2], [1]]),
}
MOMENTS = {
    "a negative count": lambda c, m, s: (-c, m, s),
    "a mean of no crop": lambda c, m, s: (0 * c, m + 60, s),
    "negative squares": lambda c, m, s: (c, m, -s),
    "longer than it can be": lambda c, m, s: (c, m, s * 20),
}
STEPS = {
    "negative masses": lambda m, f, s: (-m, f, s),
    "sums of nothing": lambda m, f, s: (0 * m, f + 20, s),
    "no variance but a negative one": lambda m, f, s: (m, f, -s),
    "products of nothing": lambda m, f, s: (0 * m, 0 * f, s * 5),
}


@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("lie", [*HISTOGRAMS, *MOMENTS, *STEPS])
def test_inconsistent_sums_are_detected(lie, noise):
    rng, own, weights = np.random.default_rng(2), rows(0), np.ones(N)
    if lie in HISTOGRAMS:
        wrong = noisy_truth.histograms(HISTOGRAMS[lie](noisy(rng, bounded_rows.size_sums(own, weights), noise)), noise)
    elif lie in MOMENTS:
        sums = bounded_rows.moment_sums(own, weights, np.array([1.0, 20, 0.1, 3, 1]), 3.0)
        told = MOMENTS[lie](*(noisy(rng, sums[name], noise) for name in ("count", "mean", "square")))
        wrong = noisy_truth.moments(*told, noise=noise)
    else:
        found = bounded_sums(mixture(rng), own, weights, radius_for(D, True))
        told = STEPS[lie](*(noisy(rng, part, noise) for part in (found.mass, found.first, found.second)))
        wrong = noisy_truth.steps(*told, noise=noise)
    assert wrong


@pytest.mark.parametrize("places", [3, 13])
def test_no_site_alone_can_make_numbers_huge_or_tiny(places):
    rng, noise = np.random.default_rng(3), 3.0
    parts = np.array([noisy(rng, bounded_rows.size_sums(rows(seed), np.ones(N)), noise) for seed in range(places)])
    deviation = noise * np.sqrt(places)
    honest = bounded_rows.read_sizes(noisy_truth.bounded_tails(parts, noise), deviation)
    assert (np.abs(np.log2(honest / bounded_rows.read_sizes(parts.sum(axis=0), deviation))) < 0.5).all()
    whole = N / np.sqrt(D)
    for lie in (np.eye(bounded_rows.SIZE_BINS)[-1] * whole, np.eye(bounded_rows.SIZE_BINS)[0] * whole,
                np.full(bounded_rows.SIZE_BINS, whole / bounded_rows.SIZE_BINS)):  # fmt: skip
        found = bounded_rows.read_sizes(
            noisy_truth.bounded_tails(np.concatenate([parts[:-1], np.tile(lie, (1, D, 1))]), noise), deviation
        )
        assert (np.abs(np.log2(found / honest)) < 1).all()


def test_of_two_places_nobody_can_tell_which_is_right():
    parts = np.random.default_rng(4).random((2, 3, 7))
    np.testing.assert_array_equal(noisy_truth.bounded_tails(parts, 1.0), parts.sum(axis=0))
    same = noisy_truth.near_others(parts[:, 0], parts[:, 1], np.ones(2), 0.0, 3.0)
    np.testing.assert_array_equal(same, (parts[:, 0], parts[:, 1]))


def test_places_that_differ_stay_as_they_are_and_one_far_off_comes_near():
    sizes, most, rng = np.array([1.0, 20, 0.1, 3, 1]), 3.0, np.random.default_rng(5)
    own = [rows(seed) + 0.7 * sizes.astype(np.float32) * rng.standard_normal(D).astype(np.float32) for seed in range(6)]
    sums = [bounded_rows.moment_sums(each, np.ones(N), sizes, most) for each in own]
    mean, square = (np.array([each[name] for each in sums]) for name in ("mean", "square"))
    units = np.full(6, float(N))
    np.testing.assert_array_equal(noisy_truth.near_others(mean, square, units, 0.0, most), (mean, square))
    lied = (np.vstack([mean[:-1], -1e6 * np.ones(D)]), np.vstack([square[:-1], 1e6 * np.ones(D)]))
    found = noisy_truth.near_others(*lied, units, 0.0, most)
    for honest, kept in zip((mean, square), found, strict=True):
        np.testing.assert_array_equal(kept[:-1], honest[:-1])
        spread = np.ptp(honest[:-1], axis=0) + np.abs(honest[:-1]).max(axis=0)
        assert (np.abs(kept[-1] - np.median(honest[:-1], axis=0)) < 8 * spread).all()


def test_no_centre_of_em_lies_beyond_the_clipping_range():
    rng = np.random.default_rng(6)
    wide = np.eye(3) * (CUT**2 + LEAST_VARIANCE)
    assert starting_mixture(np.full(3, CUT), wide, 64, rng).possible()
    far = Mixture(np.full(8, 1 / 8), np.full((8, 3), CUT), np.tile(wide, (8, 1, 1)))
    assert reseeded(far, np.array([100.0] * 4 + [0.0] * 4), 5.0, rng).possible()
