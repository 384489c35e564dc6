"""Statistics of videos with sensitivity 1, and estimates from their noisy sums.

With the video as the privacy unit, every statistic is a sum over videos of contributions with L2 norm at most 1
(tested: removing a video changes no sum by more). Noise with the same standard deviation on each entry makes it a
Gaussian mechanism with that noise multiplier (Dwork and Roth 2014, appendix A), so one accountant covers all. A
contribution consists of blocks; each is clipped to its own radius and has an equal share of the squared norm.
``..._contributions`` functions compute the contributions, ``read_...`` functions estimate from their sum.

The radii are in units that are known without data: bits of scale before standardisation, standard deviations after it.
They follow from the meaning of the quantities and were not tuned on a detector's results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..statistics.moments import Normaliser
from .federated_mixture import Mixtures

__all__ = [
    "CENTRE",
    "GAUSSIAN",
    "MIXTURE",
    "MOST_MEAN",
    "MOST_SCALE",
    "MOST_SIZE",
    "SCORE_BINS",
    "Blocks",
    "centre_contributions",
    "clipped",
    "expected_sums",
    "first_mixture",
    "gaussian_contributions",
    "mixture_contributions",
    "moment_blocks",
    "moment_contributions",
    "next_mixture",
    "read_centre",
    "read_gaussian",
    "read_normaliser",
    "read_scales",
    "scale_blocks",
    "scale_contributions",
    "score_contributions",
    "summary_pairs",
]


def clipped(rows: np.ndarray, radius: float) -> np.ndarray:
    """Rows (V, k), each clipped to an L2 norm of at most ``radius``; a row that is not finite becomes 0.

    Non-finite rows raise no error, because even the existence of an answer must not depend on one video.

    >>> clipped(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).round(6).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        norm = np.linalg.norm(rows, axis=1, keepdims=True)
    sound = np.isfinite(norm)
    factor = radius / np.maximum(np.where(sound, norm, 1.0), radius)
    return np.where(sound, rows, 0.0) * factor


@dataclass(frozen=True)
class Blocks:
    """Layout of a contribution.

    Attributes:
        sizes: number of entries of each block.
        radii: L2 norm to which a block of one video is clipped; 1 for a block of counts.
    """

    sizes: tuple[int, ...]
    radii: tuple[float, ...]

    @property
    def share(self) -> float:
        """Share of the norm of one block."""
        return float(1 / np.sqrt(len(self.sizes)))

    def pack(self, *parts: np.ndarray) -> np.ndarray:
        """Contributions (V, sum of k_b) from blocks (V, k_b) of V videos; each has a norm of at most 1."""
        scaled = [
            clipped(part.reshape(len(part), size), radius) * (self.share / radius)
            for part, size, radius in zip(parts, self.sizes, self.radii, strict=True)
        ]
        return np.concatenate(scaled, axis=1)

    def unpack(self, total: np.ndarray) -> list[np.ndarray]:
        """Sums of the clipped blocks from the sum of contributions."""
        parts = np.split(np.asarray(total, np.float64), np.cumsum(self.sizes)[:-1])
        return [part * (radius / self.share) for part, radius in zip(parts, self.radii, strict=True)]

    def deviations(self, deviation: float) -> list[float]:
        """Standard deviation of the noise on each unpacked block, if the sum's noise has this one."""
        return [float(deviation * radius / self.share) for radius in self.radii]


def _towards(usual: np.ndarray | float, found: np.ndarray | float, noise: np.ndarray | float, spread: float) -> Any:
    """Posterior mean of a value with prior N(usual, spread^2), measured as ``found`` with Gaussian noise."""
    return usual + (found - usual) * (spread**2 / (spread**2 + np.square(noise)))


def _shrunk(found: np.ndarray, noise: float, spread: float) -> np.ndarray:
    """Values (D,) shrunk towards their mean: the more noise, the more shrinkage (positive-part James-Stein).

    ``spread`` is the usual difference between values; it also limits the factor if the noise is large by chance.
    """
    mean, variance = found.mean(), max(float(found.var()), np.finfo(np.float64).tiny)
    factor = min(max(0.0, 1 - noise**2 / variance), spread**2 / (spread**2 + noise**2))
    return np.asarray(mean + (found - mean) * factor)


# Normalisation: the size of each dimension, then mean and variance in that unit.

_MOST_BITS, _APART_BITS = 10.0, 2.5
_LEAST_SPREAD = 0.1
"""Least standard deviation, in units of a dimension's size."""
MOST_SIZE = 2.0**_MOST_BITS
MOST_MEAN = 2 * MOST_SIZE
MOST_SCALE = 2 * MOST_SIZE / _LEAST_SPREAD
"""Estimates from any sums stay within these limits, so a received value outside them is malicious."""


def scale_blocks(dim: int) -> Blocks:
    """Layout of :func:`scale_contributions`: count, mean size over dimensions, difference of each dimension from it."""
    return Blocks((1, 1, dim), (1.0, _MOST_BITS, _APART_BITS * np.sqrt(dim)))


def scale_contributions(squares: np.ndarray) -> np.ndarray:
    """Contributions (V, D + 2) of log2 sizes, from each video's mean square per dimension (V, D)."""
    bits = np.clip(0.5 * np.log2(np.maximum(squares, 2.0 ** (-2 * _MOST_BITS))), -_MOST_BITS, _MOST_BITS)
    overall = bits.mean(axis=1, keepdims=True)
    return scale_blocks(squares.shape[1]).pack(np.ones(len(squares)), overall, bits - overall)


def read_scales(total: np.ndarray, videos: float, deviation: float) -> np.ndarray:
    """(D,) typical size of each dimension, from the sum of :func:`scale_contributions`.

    Noisy differences between dimensions are shrunk towards 0: the more noise, the more shrinkage (James and Stein
    1961).
    """
    blocks = scale_blocks(len(total) - 2)
    _, overall, apart = (part / videos for part in blocks.unpack(total))
    _, noise_overall, noise_apart = blocks.deviations(deviation / videos)
    bits = _towards(0.0, overall[0], noise_overall, _APART_BITS) + _shrunk(apart, noise_apart, _APART_BITS)
    return np.asarray(2.0 ** np.clip(bits, -_MOST_BITS, _MOST_BITS))


def moment_blocks(dim: int) -> Blocks:
    """Layout of :func:`moment_contributions`: count, means, mean squares; in units of size about 1 per dimension."""
    return Blocks((1, dim, dim), (1.0, np.sqrt(dim), 2 * np.sqrt(dim)))


def moment_contributions(means: np.ndarray, squares: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Contributions (V, 2 D + 1) from each video's mean and mean square, (V, D) each, in units of ``scales`` (D,)."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        in_units = means / scales, squares / np.square(scales)
    return moment_blocks(len(scales)).pack(np.ones(len(means)), *in_units)


def read_normaliser(total: np.ndarray, videos: float, deviation: float, scales: np.ndarray) -> Normaliser:
    """Standardisation from the sum of :func:`moment_contributions`, shrunk as in :func:`read_scales`.

    A variance is taken to be at least as large as its noise: a smaller one cannot be measured, and dividing by it would
    amplify noise.
    """
    blocks = moment_blocks(len(scales))
    _, means, squares = (part / videos for part in blocks.unpack(total))
    _, noise_means, noise_squares = blocks.deviations(deviation / videos)
    mean, square = _shrunk(means, noise_means, 1.0), _shrunk(squares, noise_squares, 1.0)
    spread = np.sqrt(np.maximum(square - np.square(mean), max(noise_squares, _LEAST_SPREAD**2)))
    mean = np.clip(mean, -1.0, 1.0)  # in units of the root mean square
    return Normaliser((mean * scales).astype(np.float32), (1 / (spread * scales)).astype(np.float32))


# Segregation: one pair per video in standardised units, the centre of the pairs, then EM steps around it.

CENTRE = Blocks((1, 2), (1.0, 6.0))
_CENTRE_SPREAD = 2.0
_RADIUS = 3.0
MIXTURE = Blocks((2, 4, 8), (1.0, _RADIUS, _RADIUS**2))
_START_WEIGHTS, _START_RISE = (0.8, 0.2), 1.5
"""Start of EM: one fifth of the videos has larger rises, by 1.5 bits; covariances are 1. Noisy steps are shrunk towards
this start."""
_LEAST_WEIGHT, _LEAST_VARIANCE = 0.05, 0.05
_MOST_RISE = 6.0
_ENTROPY_UNIT = 4.0
"""Scale of entropy per dimension: the product varies by about 1 between videos with variances between 0 and 1."""


def summary_pairs(summaries: np.ndarray, dim: int) -> np.ndarray:
    """Pairs of videos under differential privacy: log2 of the largest rise, and entropy, both per dimension.

    The logarithm of the rise is used because clipping the rise itself would hide the videos that stand out.

    Args:
        summaries: (V, 2) largest rise and entropy in standardised features.
        dim: D.

    Returns:
        (V, 2) float64, of order 1.
    """
    rise = np.clip(np.log2(np.maximum(summaries[:, 0] / dim, 2.0**-_MOST_BITS)), -_MOST_RISE, _MOST_RISE)
    entropy = np.clip(_ENTROPY_UNIT * summaries[:, 1] / dim, -_RADIUS, _RADIUS)
    return np.stack([rise, entropy], axis=1)


def centre_contributions(pairs: np.ndarray) -> np.ndarray:
    """Contributions (V, 3) from (V, 2) pairs."""
    return CENTRE.pack(np.ones(len(pairs)), pairs)


def read_centre(total: np.ndarray, videos: float, deviation: float) -> np.ndarray:
    """(2,) centre of the pairs, from the sum of :func:`centre_contributions`; clipped to the radius of the pairs."""
    noise = CENTRE.deviations(deviation / videos)[1]
    centre = _towards(0.0, CENTRE.unpack(total)[1] / videos, noise, _CENTRE_SPREAD)
    return np.clip(centre, -CENTRE.radii[1], CENTRE.radii[1])


def first_mixture() -> Mixtures:
    """Start of the noisy fit (R = 1), relative to the centre."""
    means = np.array([[[-_START_WEIGHTS[1] * _START_RISE, 0.0], [_START_WEIGHTS[0] * _START_RISE, 0.0]]])
    return Mixtures(np.array([_START_WEIGHTS]), means, np.tile(np.eye(2), (1, 2, 1, 1)))


def mixture_contributions(pairs: np.ndarray, responsibility: np.ndarray) -> np.ndarray:
    """Contributions to an EM step: responsibilities r, and r z and r z z^T of each component.

    The norm of each block is at most ``|z|^p`` times the norm of the responsibilities, which is at most 1.

    Args:
        pairs: (V, 2) z, centred; clipped here.
        responsibility: (V, 2), rows sum to 1.

    Returns:
        (V, 14).
    """
    z = clipped(pairs, _RADIUS)
    first = np.einsum("vk,vi->vki", responsibility, z)
    second = np.einsum("vk,vi,vj->vkij", responsibility, z, z)
    return MIXTURE.pack(responsibility, first.reshape(len(z), 4), second.reshape(len(z), 8))


def expected_sums(mixture: Mixtures, videos: float) -> np.ndarray:
    """Expected sum of :func:`mixture_contributions` over so many videos that follow this mixture, (14,)."""
    weight, mean, covariance = mixture.weights[0] * videos, mixture.means[0], mixture.covariances[0]
    first = weight[:, None] * mean
    second = weight[:, None, None] * (covariance + mean[:, :, None] * mean[:, None, :])
    parts = zip((weight, first, second), MIXTURE.radii, strict=True)
    return np.concatenate([np.ravel(part) * (MIXTURE.share / radius) for part, radius in parts])


def next_mixture(total: np.ndarray, videos: float, deviation: float) -> Mixtures:
    """The M-step from the noisy sum of :func:`mixture_contributions` (R = 1).

    Each parameter is shrunk towards its start: the more noise relative to its usual variation, the more shrinkage. The
    result is always valid: the component with larger rises keeps between 0.05 and 0.5 of the weight, means stay within
    the radius, and covariances have eigenvalues between 0.05 and the radius squared.
    """
    start = first_mixture()
    weight, first, second = MIXTURE.unpack(total)
    noise_weight, noise_first, noise_second = MIXTURE.deviations(deviation)
    share = _towards(start.weights[0], weight / videos, noise_weight / videos, _START_WEIGHTS[1])
    apart = np.clip(share[1] / max(share.sum(), _LEAST_WEIGHT), _LEAST_WEIGHT, 0.5)
    share = np.array([1 - apart, apart])
    held = share * videos
    means = _towards(start.means[0], first.reshape(2, 2) / held[:, None], (noise_first / held)[:, None], 1.0)
    means = clipped(means, _RADIUS)
    square = second.reshape(2, 2, 2) / held[:, None, None]
    found = (square + np.swapaxes(square, 1, 2)) / 2 - means[:, :, None] * means[:, None, :]
    covariances = _towards(start.covariances[0], found, (noise_second / held)[:, None, None], 1.0)
    values, vectors = np.linalg.eigh(covariances)
    values = np.clip(values, _LEAST_VARIANCE, _RADIUS**2)
    return Mixtures(share[None], means[None], np.einsum("kij,kj,klj->kil", vectors, values, vectors)[None])


# Common density of normal magnitudes, in units of D, their mean after standardisation.

_MOST_MAGNITUDE = 4.0
GAUSSIAN = Blocks((1, 1, 1), (1.0, _MOST_MAGNITUDE, _MOST_MAGNITUDE**2))


def gaussian_contributions(means: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Contributions (V, 3) from normal videos' mean (V,) and mean square (V,) of magnitudes per dimension."""
    return GAUSSIAN.pack(np.ones(len(means)), means, squares)


def read_gaussian(total: np.ndarray, videos: float, deviation: float, dim: int) -> tuple[float, float, float]:
    """(normal videos, mean, variance) of normal magnitudes, from the sum of :func:`gaussian_contributions`.

    Mean and variance, in units of D and D^2, are shrunk towards 1, their usual value after standardisation.

    Args:
        total: the sum.
        videos: number of videos of all sites, normal or not; at least 5 % of them are assumed to be normal.
        deviation: standard deviation of the noise on the sum.
        dim: D.
    """
    count, means, squares = (float(part[0]) for part in GAUSSIAN.unpack(total))
    held = max(count, _LEAST_WEIGHT * videos)
    _, noise_mean, noise_square = (noise / held for noise in GAUSSIAN.deviations(deviation))
    mean = float(np.clip(_towards(1.0, means / held, noise_mean, 0.5), 0.0, _MOST_MAGNITUDE))
    variance = max(float(_towards(1.0, squares / held - mean**2, noise_square, 1.0)), _LEAST_SPREAD**2)
    return held, mean * dim, variance * dim**2


# Scores of the final model.

SCORE_BINS = 16


def score_contributions(scores: list[np.ndarray]) -> np.ndarray:
    """Each video's shares of segments in 16 equal bins of the score, (V, 16).

    Shares add up to 1, so their norm is at most 1.
    """
    shares = [np.histogram(s, SCORE_BINS, (0.0, 1.0))[0] / max(len(s), 1) for s in scores]
    return np.array(shares).reshape(len(scores), SCORE_BINS)
