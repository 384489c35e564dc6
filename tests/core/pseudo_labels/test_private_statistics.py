"""No video changes a sum by more than 1, and estimates from sums without noise equal the plain statistics."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clap_vad.core.pseudo_labels import private_statistics as private
from clap_vad.core.pseudo_labels.federated_mixture import Mixtures, expectation, maximise, responsibilities

MOST = 1 + 1e-9
wild = st.floats(-1e308, 1e308) | st.sampled_from([0.0, -0.0, 1e-320, 5e-324, 1e150, -1e150, 1e200, 1.0, 2.0**-10])
positive = wild.map(abs)
single = st.floats(-3.4e38, 3.4e38)
"""Means of features, which are float32."""


def rows(columns: int, numbers: st.SearchStrategy[float] = wild) -> st.SearchStrategy[np.ndarray]:
    return st.integers(1, 6).flatmap(lambda videos: arrays(np.float64, (videos, columns), elements=numbers))


def shares(videos: int, seed: int) -> np.ndarray:
    first = np.random.default_rng(seed).choice([0.0, 1.0, 0.5, 1e-300, 0.3], videos)
    return np.stack([first, 1 - first], axis=1)


def assert_bounded(contributions: np.ndarray) -> None:
    assert np.isfinite(contributions).all()
    assert np.linalg.norm(contributions, axis=1).max(initial=0) <= MOST


@pytest.fixture(autouse=True)
def overflow_is_expected():
    with np.errstate(over="ignore"):
        yield


# What one video can do.


@settings(max_examples=40, deadline=None)
@given(rows(5, positive))
def test_one_video_moves_no_scales_by_more_than_1(squares):
    contributions = private.scale_contributions(squares)
    assert contributions.shape == (len(squares), 7)
    assert_bounded(contributions)


@settings(max_examples=40, deadline=None)
@given(rows(4, single), rows(4, single.map(np.square)), st.sampled_from([1.0, 1e-3, 1e3, 2.0**-10, 2.0**10]))
def test_one_video_moves_no_moments_by_more_than_1(means, squares, scale):
    videos = min(len(means), len(squares))
    contributions = private.moment_contributions(
        means[:videos], squares[:videos], scale * np.array([1.0, 2.0, 0.5, 7.0])
    )
    assert contributions.shape == (videos, 9)
    assert_bounded(contributions)


@settings(max_examples=40, deadline=None)
@given(rows(2))
def test_one_video_moves_no_centre_by_more_than_1(pairs):
    assert_bounded(private.centre_contributions(pairs))


@settings(max_examples=40, deadline=None)
@given(rows(2), st.integers(0, 1000))
def test_one_video_moves_no_step_of_em_by_more_than_1(pairs, seed):
    contributions = private.mixture_contributions(pairs, shares(len(pairs), seed))
    assert contributions.shape == (len(pairs), 14)
    assert_bounded(contributions)


@settings(max_examples=40, deadline=None)
@given(rows(2, st.floats(-50, 50)))
def test_responsibilities_of_any_mixture_are_within_the_bound(pairs):
    assert_bounded(private.mixture_contributions(pairs, responsibilities(pairs, private.first_mixture())))


@settings(max_examples=40, deadline=None)
@given(rows(2))
def test_one_video_moves_no_gaussian_by_more_than_1(numbers):
    assert_bounded(private.gaussian_contributions(numbers[:, 0], numbers[:, 1]))


@settings(max_examples=40, deadline=None)
@given(st.lists(arrays(np.float32, st.integers(0, 9), elements=st.floats(0, 1, width=32)), max_size=5))
def test_one_video_moves_no_scores_by_more_than_1(scores):
    contributions = private.score_contributions(scores)
    assert contributions.shape == (len(scores), private.SCORE_BINS)
    assert_bounded(contributions)
    for row, s in zip(contributions, scores, strict=True):
        slow = [sum(min(int(value * 16), 15) == number for value in s) / max(len(s), 1) for number in range(16)]
        np.testing.assert_allclose(row, slow, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(rows(2, positive), st.integers(1, 2048))
def test_pairs_of_any_summaries_lead_to_bounded_contributions(summaries, dim):
    pairs = private.summary_pairs(summaries, dim)
    assert np.abs(pairs[:, 0]).max() <= 6
    assert_bounded(private.centre_contributions(pairs))


COULD_FAIL: dict[str, Callable[[], np.ndarray]] = {
    "moments, in a unit that overflows for the first": lambda: private.moment_contributions(
        np.array([[1.0, 2.0], [1.0, 1e-200]]), np.array([[1.0, 1e10], [1.0, 1e-200]]), np.array([1.0, 1e-150])
    ),
    "centre, whose entropy overflowed": lambda: private.centre_contributions(np.array([[1.0, -np.inf], [1.0, 1.0]])),
    "mixture, so narrow that the first is nowhere in it": lambda: private.mixture_contributions(
        NEAR, responsibilities(NEAR, NARROW)
    ),
    "gaussian, of magnitudes that overflow": lambda: private.gaussian_contributions(
        np.array([np.inf, 1.0]), np.array([np.inf, 1.0])
    ),
}
NEAR = np.array([[3.0, 0.0], [0.0, 0.0]])
NARROW = Mixtures(np.array([[0.5, 0.5]]), np.zeros((1, 2, 2)), np.tile(1e-309 * np.eye(2), (1, 2, 1, 1)))


@pytest.mark.parametrize("name", COULD_FAIL)
def test_a_video_that_overflows_is_bounded_as_any_other(name):
    """Else the whole answer is refused for its sake, and a refusal has no noise: it tells that the video is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        contributions = COULD_FAIL[name]()
    assert_bounded(contributions)
    assert contributions[1].any()


@settings(max_examples=40, deadline=None)
@given(rows(3, st.floats(-1e9, 1e9)), st.sampled_from([1.0, 0.1, 30.0]))
def test_clipping_shortens_and_never_turns(numbers, radius):
    found = private.clipped(numbers, radius)
    for row, other in zip(numbers, found, strict=True):
        length = float(np.sqrt(np.sum(row**2)))
        expected = row if length <= radius else row / length * radius
        np.testing.assert_allclose(other, expected, rtol=1e-9, atol=1e-12)


# Packing.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_unpacking_takes_back_what_packing_did_where_nothing_is_clipped(seed, videos):
    rng = np.random.default_rng(seed)
    blocks = private.Blocks((1, 3, 2), (1.0, 5.0, 0.5))
    parts = [private.clipped(rng.normal(0, 1, (videos, n)), r) for n, r in zip(blocks.sizes, blocks.radii, strict=True)]
    packed = blocks.pack(*parts)
    for part, found in zip(parts, blocks.unpack(packed.sum(axis=0)), strict=True):
        np.testing.assert_allclose(found, part.sum(axis=0), rtol=1e-12, atol=1e-12)


def test_noise_on_the_sum_is_so_much_noise_on_what_is_read_from_it():
    blocks = private.Blocks((1, 40_000), (1.0, 5.0))
    noise = np.random.default_rng(0).normal(0, 0.7, 40_001)
    _, read = blocks.unpack(noise)
    assert read.std() == pytest.approx(blocks.deviations(0.7)[1], rel=0.02)


# What is read from sums without noise.


def videos_of(seed: int, count: int = 60, dim: int = 6) -> list[np.ndarray]:
    """Segments of videos, whose dimensions are of other sizes but lie near each other."""
    rng = np.random.default_rng(seed)
    size = 2.0 ** rng.uniform(-1, 1, dim)
    return [size * rng.normal(0.4, 1, (int(rng.integers(5, 30)), dim)) for _ in range(count)]


def means_and_squares(videos: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([x.mean(axis=0) for x in videos]), np.array([(x**2).mean(axis=0) for x in videos])


@pytest.mark.parametrize("seed", range(3))
def test_scales_without_noise_are_the_geometric_means_of_sizes(seed):
    videos = videos_of(seed)
    total = private.scale_contributions(means_and_squares(videos)[1]).sum(axis=0)
    expected = []
    for d in range(6):
        logarithms = [np.log2(np.sqrt(np.mean([value[d] ** 2 for value in x]))) for x in videos]
        expected.append(2.0 ** (sum(logarithms) / len(logarithms)))
    np.testing.assert_allclose(private.read_scales(total, len(videos), 0.0), expected, rtol=1e-9)
    assert private.scale_blocks(6).unpack(total)[0][0] == pytest.approx(len(videos))


@pytest.mark.parametrize("seed", range(3))
def test_a_normaliser_without_noise_is_that_of_the_mean_video(seed):
    videos = videos_of(seed)
    means, squares = means_and_squares(videos)
    scales = private.read_scales(private.scale_contributions(squares).sum(axis=0), len(videos), 0.0)
    total = private.moment_contributions(means, squares, scales).sum(axis=0)
    normaliser = private.read_normaliser(total, len(videos), 0.0, scales)
    for d in range(6):
        mean = sum(float(x[:, d].mean()) for x in videos) / len(videos)
        square = sum(float((x[:, d] ** 2).mean()) for x in videos) / len(videos)
        assert normaliser.mean[d] == pytest.approx(mean, rel=1e-5, abs=1e-6)
        assert normaliser.scale[d] == pytest.approx(1 / np.sqrt(square - mean**2), rel=1e-5)


def test_the_centre_without_noise_is_the_mean_of_the_pairs():
    pairs = np.random.default_rng(0).normal([1.0, -0.5], 0.6, (200, 2))
    assert np.linalg.norm(pairs, axis=1).max() < 6
    total = private.centre_contributions(pairs).sum(axis=0)
    expected = [sum(pair[i] for pair in pairs.tolist()) / 200 for i in (0, 1)]
    np.testing.assert_allclose(private.read_centre(total, 200, 0.0), expected, rtol=1e-9)


@pytest.mark.parametrize("dim", [1, 1024])
def test_the_gaussian_without_noise_is_that_of_normal_videos(dim):
    rng = np.random.default_rng(1)
    videos = [rng.gamma(9, 1 / 9, int(rng.integers(4, 20))) for _ in range(40)]
    means, squares = np.array([m.mean() for m in videos]), np.array([(m**2).mean() for m in videos])
    assert means.max() < 4
    total = private.gaussian_contributions(means, squares).sum(axis=0)
    count, mean, variance = private.read_gaussian(total, 50, 0.0, dim)
    middle = sum(means.tolist()) / 40
    assert count == pytest.approx(40)
    assert mean == pytest.approx(middle * dim)
    assert variance == pytest.approx((sum(squares.tolist()) / 40 - middle**2) * dim**2)


# Steps of EM.


def pairs_near(seed: int, count: int = 300) -> np.ndarray:
    """Two overlapping clouds within the radius; neither component comes near its floors."""
    rng = np.random.default_rng(seed)
    high = rng.random(count) < 0.3
    pairs = np.where(high[:, None], rng.normal([1.2, 0.3], 0.4, (count, 2)), rng.normal([-0.4, 0.0], 0.35, (count, 2)))
    assert np.linalg.norm(pairs, axis=1).max() < 3
    return pairs


def step(pairs: np.ndarray, mixture: Mixtures, deviation: float = 0.0) -> Mixtures:
    total = private.mixture_contributions(pairs, responsibilities(pairs, mixture)).sum(axis=0)
    return private.next_mixture(total, len(pairs), deviation)


@pytest.mark.parametrize("seed", range(3))
def test_steps_without_noise_are_those_of_the_federated_mixture_and_of_scikit_learn(seed):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    pairs, steps = pairs_near(seed), 4
    mixture = ours = private.first_mixture()
    for _ in range(steps):
        mixture, ours = step(pairs, mixture), maximise(ours, expectation(pairs, ours))
    start = private.first_mixture()
    precisions = np.linalg.inv(start.covariances[0])
    theirs = GaussianMixture(
        2, tol=0, max_iter=steps, reg_covar=0, weights_init=start.weights[0], means_init=start.means[0],
        precisions_init=precisions,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(pairs)
    expected = (theirs.weights_, theirs.means_, theirs.covariances_)
    for name, value in zip(("weights", "means", "covariances"), expected, strict=True):
        np.testing.assert_allclose(getattr(mixture, name)[0], value, rtol=1e-6, atol=1e-9)
        # The federated mixture adds 1e-6 to each variance, scikit-learn was told not to.
        np.testing.assert_allclose(getattr(mixture, name), getattr(ours, name), atol=2e-5)


def test_where_there_is_nothing_but_noise_the_mixture_stays_where_it_began():
    start, pairs = private.first_mixture(), pairs_near(0, 50)
    found = step(pairs, start, deviation=1e9)
    np.testing.assert_allclose(found.weights, start.weights, atol=1e-6)
    np.testing.assert_allclose(found.means, start.means, atol=1e-6)
    np.testing.assert_allclose(found.covariances, start.covariances, atol=1e-6)


def test_where_there_is_nothing_but_noise_all_dimensions_are_of_one_size():
    total = private.scale_contributions(4.0 ** np.random.default_rng(3).uniform(-2, 2, (20, 400))).sum(axis=0)
    assert np.ptp(private.read_scales(total, 20, 1e6)) == 0
    assert np.ptp(np.log2(private.read_scales(total, 20, 0.0))) > 0.5


@pytest.mark.parametrize("deviation", [20.0, 1e3])
def test_noise_alone_makes_no_dimension_much_larger_than_others(deviation):
    """As it is drawn: its variance over the dimensions is sometimes more than it is expected to be."""
    squares, found = np.ones((20, 400)), []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, deviation, 402)
        scales = private.read_scales(private.scale_contributions(squares).sum(axis=0) + noise, 20, deviation)
        found.append(np.log2(scales).std())
    assert max(found) < 2.5  # bits, what dimensions are taken to differ by at most


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float64, 14, elements=st.floats(-1e6, 1e6)), st.floats(1, 1e5), st.sampled_from([0.0, 1e-3, 1.0, 300.0])
)
def test_whatever_the_noise_a_step_ends_in_a_possible_mixture(total, videos, deviation):
    mixture = private.next_mixture(total, videos, deviation)
    assert mixture.possible(1)
    assert mixture.weights.sum() == pytest.approx(1)
    assert mixture.weights.min() >= 0.05 - 1e-12
    assert np.linalg.norm(mixture.means[0], axis=1).max() <= 3 + 1e-9
    values = np.linalg.eigvalsh(mixture.covariances[0])
    assert values.min() >= 0.05 - 1e-9
    assert values.max() <= 9 + 1e-9
    found = responsibilities(np.random.default_rng(0).normal(0, 2, (20, 2)), mixture)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, 9, elements=st.floats(-1e6, 1e6)), st.floats(1, 1e5), st.floats(0, 1e3))
def test_whatever_the_noise_a_normaliser_can_be_used(total, videos, deviation):
    scales = private.read_scales(total, videos, deviation)
    assert ((scales >= 2.0**-10) & (scales <= 2.0**10)).all()
    total = np.concatenate([total, total])[:15]
    normaliser = private.read_normaliser(total, videos, deviation, scales)
    assert np.isfinite(normaliser.mean).all()
    assert ((normaliser.scale > 0) & (normaliser.scale <= 1e5)).all()


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, 3, elements=st.floats(-1e6, 1e6)), st.floats(1, 1e5), st.floats(0, 1e3), st.integers(1, 2048))
def test_whatever_the_noise_a_gaussian_and_a_centre_can_be_used(total, videos, deviation, dim):
    count, mean, variance = private.read_gaussian(total, videos, deviation, dim)
    assert count >= 0.05 * videos
    assert 0 <= mean <= 4 * dim
    assert variance >= 0.01 * dim**2 - 1e-12
    assert np.isfinite(private.read_centre(total, videos, deviation)).all()


def test_expected_sums_are_those_of_videos_drawn_from_the_mixture():
    rng, videos = np.random.default_rng(3), 200_000
    mixture = Mixtures(
        np.array([[0.7, 0.3]]), np.array([[[-0.2, 0.1], [0.4, -0.3]]]), 0.1 * np.tile(np.eye(2), (1, 2, 1, 1))
    )
    component = (rng.random(videos) < 0.3).astype(int)
    z = mixture.means[0][component] + rng.normal(0, np.sqrt(0.1), (videos, 2))  # none lies beyond the radius
    found = private.mixture_contributions(z, np.eye(2)[component]).sum(axis=0)
    assert private.expected_sums(mixture, videos) == pytest.approx(found, rel=0.03, abs=0.002 * videos)
    again = private.next_mixture(private.expected_sums(mixture, 50.0), 50.0, 0.0)
    for name in ("weights", "means", "covariances"):
        assert getattr(again, name) == pytest.approx(getattr(mixture, name))
