"""Sums of EM that one unit moves by at most 1, and the M-step that is read from them."""

import numpy as np
import pytest
from crowds import crowd
from scipy.stats import multivariate_normal

from clap_vad.core.density.bounded_density import (
    SHARES,
    BoundedSums,
    Fit,
    bounded_sums,
    components_for,
    kept_variance,
    least_mass,
    next_fit,
    radius_for,
)
from clap_vad.core.density.gaussian_mixture import (
    COMPONENTS,
    LEAST_VARIANCE,
    Mixture,
    expectation,
    posteriors,
    starting_mixture,
)


def mixture(rng, k, d, scale=1.0):
    roots = rng.standard_normal((k, d, d)) * scale
    covariances = np.einsum("kij,klj->kil", roots, roots) + 0.02 * np.eye(d)
    weights = rng.random(k) + 0.1
    return Mixture(weights / weights.sum(), rng.standard_normal((k, d)) * 3, covariances)


def adversarial(rng, d):
    """What a lying coordinator may send: thin slabs side by side, components on top of each other, far ones."""
    slabs = np.zeros((8, d))
    slabs[:, 0] = np.linspace(-15, 15, 8)
    thin = np.tile(LEAST_VARIANCE * np.eye(d), (8, 1, 1))
    yield Mixture(np.full(8, 1 / 8), slabs, thin)
    yield Mixture(np.full(8, 1 / 8), np.zeros((8, d)), thin)
    wide = thin.copy()
    wide[:, 0, 0] = 225.0
    yield Mixture(np.eye(8)[3], np.full((8, d), 15.0), wide)
    yield mixture(rng, 8, d)


def distance(a, b):
    return BoundedSums(a.mass - b.mass, a.first - b.first, a.second - b.second).norm


@pytest.mark.parametrize("d", [1, 4, 10, 32])
@pytest.mark.parametrize("noise", [True, False])
def test_one_more_region_changes_the_sums_by_at_most_1_for_any_mixture(d, noise):
    rng = np.random.default_rng(d)
    rows = rng.standard_normal((300, d)).astype(np.float32)
    for asked in adversarial(rng, d):
        for row in (np.zeros(d), np.full(d, 15.0), np.full(d, -15.0), rng.standard_normal(d), asked.means[0]):
            more = np.vstack([rows, row.astype(np.float32)])
            radius = radius_for(d, noise)
            few = bounded_sums(asked, rows, np.ones(300), radius)
            assert distance(bounded_sums(asked, more, np.ones(301), radius), few) <= 1 + 1e-6


def test_one_whole_video_more_moves_the_sums_by_at_most_1():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 10)).astype(np.float32)
    weights = np.full(300, 1 / 50)  # six videos
    for asked in adversarial(rng, 10):
        for video in (np.full((1, 10), 15.0), np.full((2000, 10), 15.0), rng.standard_normal((77, 10)) * 5):
            more = np.vstack([rows, video.astype(np.float32)])
            all_weights = np.concatenate([weights, np.full(len(video), 1 / len(video))])
            few = bounded_sums(asked, rows, weights, radius_for(10, True))
            assert distance(bounded_sums(asked, more, all_weights, radius_for(10, True)), few) <= 1 + 1e-4


def test_a_video_with_one_region_does_not_affect_longer_ones():
    """A crop of it weighs 2048 times as much as one of theirs: none of these may count as negligible beside it."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40_000, 4)).astype(np.float32)
    weights = np.full(len(rows), 1 / 2048)
    asked = Mixture(np.full(64, 1 / 64), np.zeros((64, 4)), np.tile(np.eye(4), (64, 1, 1)))
    few = bounded_sums(asked, rows, weights, radius_for(4, True))
    more = bounded_sums(asked, np.vstack([rows, rows[:1]]), np.append(weights, 1.0), radius_for(4, True))
    assert few.norm > 1
    assert distance(more, few) <= 1 + 1e-6


def test_the_bound_is_reached():
    """A row far out has the whole norm: the noise covers no less than it has to."""
    one = Mixture(np.ones(1), np.zeros((1, 3)), np.eye(3)[None])
    sums = bounded_sums(one, np.array([[15.0, 0, 0]], np.float32), np.ones(1), radius_for(3, True))
    assert sums.norm == pytest.approx(1.0)


def test_sums_are_those_of_a_slow_loop():
    rng = np.random.default_rng(1)
    asked, rows, weights = mixture(rng, 4, 3), rng.standard_normal((50, 3)).astype(np.float32), rng.random(50)
    radius = radius_for(3, True)
    mass, first, second = np.zeros(4), np.zeros((4, 3)), np.zeros((4, 6))
    shares = posteriors(asked, rows.astype(np.float64))
    for row, weight, share in zip(rows.astype(np.float64), weights, shares, strict=True):
        for k in range(4):
            z = np.linalg.solve(np.linalg.cholesky(asked.covariances[k]), row - asked.means[k])
            z *= min(1.0, radius / np.linalg.norm(z))
            r = share[k] * weight
            mass[k] += r * SHARES[0]
            first[k] += r * z * SHARES[1] / radius
            products = [(1 if i == j else 2**0.5) * z[i] * z[j] for i in range(3) for j in range(i, 3)]
            second[k] += r * np.array(products) * SHARES[2] / radius**2
    found = bounded_sums(asked, rows, weights, radius)
    for one, other in ((found.mass, mass), (found.first, first), (found.second, second)):
        np.testing.assert_allclose(one, other, atol=5e-3)  # responsibilities below a ten-thousandth are left out


def plain_step(before, rows):
    """The M-step of plain EM, with the same regularisation: the oracle."""
    sums = expectation(before, rows)
    d = before.dim
    i, j = np.triu_indices(d)
    second = np.empty((len(sums.mass), d, d))
    second[:, i, j] = second[:, j, i] = sums.outer / sums.mass[:, None]
    means = sums.sum / sums.mass[:, None]
    covariances = second - np.einsum("ki,kj->kij", means, means)
    held = sums.mass[:, None, None]
    return means, (held * covariances + 5 * 0.1 * np.eye(d)) / (held + 5) + LEAST_VARIANCE * np.eye(d)


def test_without_noise_and_with_nothing_far_out_a_step_is_one_of_plain_em():
    rng = np.random.default_rng(2)
    rows = np.vstack([rng.standard_normal((400, 3)), rng.standard_normal((400, 3)) + 4]).astype(np.float32)
    before = Mixture(np.array([0.5, 0.5]), np.array([[0.0, 0, 0], [4.0, 4, 4]]), np.tile(np.eye(3), (2, 1, 1)))
    radius = 50.0
    after = next_fit(Fit.begun(before), bounded_sums(before, rows, np.ones(800), radius), radius, 0.0, False).mixture
    means, covariances = plain_step(before, rows)
    np.testing.assert_allclose(after.means, means, atol=1e-3)
    np.testing.assert_allclose(after.covariances, covariances, atol=1e-3)


def test_of_gaussian_rows_shortening_leaves_the_covariance_right():
    rng = np.random.default_rng(3)
    root = rng.standard_normal((4, 4))
    rows = (rng.standard_normal((60_000, 4)) @ root.T).astype(np.float32)
    fit = Fit.begun(Mixture(np.ones(1), np.zeros((1, 4)), np.cov(rows.T)[None]))
    radius = radius_for(4, True)
    for _ in range(5):
        fit = next_fit(fit, bounded_sums(fit.mixture, rows, np.ones(len(rows)), radius), radius, 1e-9, False)
    expected = np.cov(rows.T) + LEAST_VARIANCE * np.eye(4)
    assert np.abs(fit.mixture.covariances[0] - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize("deviation", [0.0, 5.0, 500.0, 1e6])
def test_whatever_the_noise_what_follows_is_a_density_that_a_site_takes(deviation):
    rng = np.random.default_rng(4)
    fit = Fit.begun(starting_mixture(np.zeros(6), np.eye(6), 16, rng))
    rows = rng.standard_normal((200, 6)).astype(np.float32)
    radius = radius_for(6, deviation > 0)
    for number in range(6):
        sums = bounded_sums(fit.mixture, rows, np.ones(200), radius)
        noisy = BoundedSums(
            *(part + deviation * rng.standard_normal(part.shape) for part in (sums.mass, sums.first, sums.second))
        )
        fit = next_fit(fit, noisy, radius, deviation, average=number > 2)
        assert fit.mixture.possible()


def test_averaged_steps_have_less_noise():
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((2000, 3)).astype(np.float32)
    truth = Mixture(np.ones(1), np.zeros((1, 3)), np.eye(3)[None])
    radius = radius_for(3, True)

    def error(average):
        fit, found = Fit.begun(truth), []
        for _ in range(40):
            sums = bounded_sums(fit.mixture, rows, np.ones(2000), radius)
            parts = (sums.mass, sums.first, sums.second)
            noisy = BoundedSums(*(part + 30 * rng.standard_normal(part.shape) for part in parts))
            fit = next_fit(fit, noisy, radius, 30.0, average)
            found.append(np.abs(fit.mixture.means).max())
        return np.mean(found[-10:])

    assert error(True) < 0.6 * error(False)


def test_more_noise_fewer_components_never_none_and_all_without():
    counts = [components_for(10_000, noise, 10, COMPONENTS) for noise in (0.0, 0.1, 1.0, 10.0, 100.0, 1e9)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == COMPONENTS and counts[-1] == 1
    assert all(count & (count - 1) == 0 for count in counts)


def test_a_component_that_noise_alone_could_fill_stays_where_it_is():
    before = Mixture(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [9.0, 9.0]]), np.tile(np.eye(2), (2, 1, 1)))
    rows = np.random.default_rng(6).standard_normal((500, 2)).astype(np.float32)
    sums = bounded_sums(before, rows, np.ones(500), radius_for(2, True))
    after = next_fit(Fit.begun(before), sums, radius_for(2, True), 5.0, False).mixture
    assert least_mass(5.0) > 5
    np.testing.assert_array_equal(after.means[1], before.means[1])
    assert 0 < kept_variance(2, radius_for(2, True)) < 1


# EM as a whole, without noise: what a fit must do whatever its steps are.


def exact_step(fit, rows, radius):
    return next_fit(fit, bounded_sums(fit.mixture, rows, np.ones(len(rows)), radius), radius, 0.0, average=False)


@pytest.mark.parametrize("radius", [60.0, radius_for(3, False)])
def test_rows_are_likelier_after_every_step(radius):
    """The M-step maximises a regularised aim; on a crowd of thousands its regularisation does not show."""
    rows = crowd(4000)
    mean, covariance = rows.mean(axis=0), np.cov(rows.T)
    fit, likelihoods = Fit.begun(starting_mixture(mean, covariance, 12, np.random.default_rng(0))), []
    for _ in range(12):
        likelihoods.append(fit.mixture.log_density(rows).mean())
        fit = exact_step(fit, rows, radius)
        assert fit.mixture.possible()
    if radius > 50:  # nothing is shortened; else the aim is Huber's, which is another
        assert (np.diff(likelihoods) > -1e-3).all()
    assert likelihoods[-1] > likelihoods[0] + 0.5
    assert likelihoods[-1] > multivariate_normal(mean, covariance).logpdf(rows).mean() + 0.5


def test_a_step_of_one_component_gives_mean_and_covariance_of_all_rows():
    rows, d = crowd(5000), 3
    unit = Mixture(np.array([1.0, 0.0]), np.zeros((2, d)), np.tile(np.eye(d), (2, 1, 1)))
    sums = bounded_sums(unit, rows, np.ones(len(rows)), 60.0)
    np.testing.assert_allclose(sums.mass / SHARES[0], [len(rows), 0], rtol=1e-12)
    made, wide, n = (
        next_fit(Fit.begun(unit), sums, 60.0, 0.0, average=False).mixture,
        rows.astype(np.float64),
        len(rows),
    )
    np.testing.assert_allclose(made.means[0], wide.mean(axis=0), rtol=1e-6)
    expected = (n * np.cov(wide.T, ddof=0) + 5 * 0.1 * np.eye(d)) / (n + 5) + LEAST_VARIANCE * np.eye(d)
    np.testing.assert_allclose(made.covariances[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("d", [1, 3, 32])
def test_a_density_of_nothing_at_all_is_the_one_before_and_sound(d):
    before = mixture(np.random.default_rng(7), 5, d)
    after = exact_step(Fit.begun(before), np.zeros((0, d), np.float32), radius_for(d, False)).mixture
    assert after.sound()
    np.testing.assert_array_equal(after.means, before.means)
    np.testing.assert_allclose(after.covariances, before.covariances, atol=1e-9)


@pytest.mark.parametrize("value", [1.0 / 3, -15.0])
def test_a_million_equal_rows_leave_the_least_variance(value):
    rows = np.full((1_000_000, 3), value, np.float32)
    common = Mixture(np.array([0.7, 0.3]), np.array([[0.0] * 3, [value] * 3]), np.tile(np.eye(3), (2, 1, 1)))
    after = exact_step(Fit.begun(common), rows, radius_for(3, False)).mixture
    assert after.possible()
    assert np.linalg.eigvalsh(after.covariances).min() >= LEAST_VARIANCE * (1 - 1e-9)


@pytest.mark.parametrize("d", [3, 10, 32])
def test_rows_that_all_components_make_impossible_leave_a_density_that_is_possible(d):
    rng = np.random.default_rng(8)
    narrow = Mixture(np.full(4, 0.25), rng.normal(size=(4, d)), np.tile(np.eye(d) * LEAST_VARIANCE, (4, 1, 1)))
    rows = rng.choice([-15.0, 15.0], (50, d)).astype(np.float32)
    sums = bounded_sums(narrow, rows, np.ones(50), radius_for(d, False))
    assert sums.mass.sum() / SHARES[0] == pytest.approx(50, rel=1e-3)
    assert all(np.isfinite(part).all() for part in (sums.mass, sums.first, sums.second))
    assert exact_step(Fit.begun(narrow), rows, radius_for(d, False)).mixture.possible()


def test_components_without_weight_take_no_rows_however_far():
    rows = np.concatenate([np.full((4, 3), 15.0), np.full((4, 3), -15.0)]).astype(np.float32)
    asked = mixture(np.random.default_rng(9), 5, 3)
    asked = Mixture(np.eye(5)[2], asked.means, asked.covariances)
    sums = bounded_sums(asked, rows, np.ones(8), radius_for(3, True))
    assert (sums.mass > 0).tolist() == [False, False, True, False, False]
    assert not sums.first[[0, 1, 3, 4]].any() and not sums.second[[0, 1, 3, 4]].any()
