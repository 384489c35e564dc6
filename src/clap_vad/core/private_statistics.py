"""Statistics of videos that one video changes by at most 1, and what is read from their noisy sums.

Under differential privacy with the video as its unit, every statistic is a sum over videos of contributions whose L2
norm is at most 1, whatever the video (tested: taking one away moves no sum further). Noise of the same standard
deviation on each entry then makes every one a Gaussian mechanism with that noise multiplier (Dwork and Roth 2014,
appendix A), and one accountant serves all. A contribution is made of blocks, each clipped to its own radius and given
an equal part of the norm. Each function here turns per-video numbers into contributions, one reads their sum back.

The radii are in units that are known before any data is seen: bits of scale before standardisation, standard
deviations after it. They were set from what these quantities are, not from how well a detector then does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .federated_mixture import Mixtures
from .moments import Normaliser

__all__ = [
    "CENTRE",
    "GAUSSIAN",
    "MIXTURE",
    "SCORE_BINS",
    "Blocks",
    "centre_contributions",
    "clipped",
    "first_mixture",
    "gaussian_contributions",
    "mixture_contributions",
    "moment_blocks",
    "moment_contributions",
    "next_mixture",
    "normaliser_from",
    "read_centre",
    "read_gaussian",
    "scale_blocks",
    "scale_contributions",
    "scales_from",
    "score_contributions",
    "summary_pairs",
]


def clipped(rows: np.ndarray, radius: float) -> np.ndarray:
    """Rows (V, k), each shortened to an L2 norm of ``radius`` where it is longer.

    >>> clipped(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).round(6).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    """
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows * np.minimum(1.0, radius / np.maximum(norm, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class Blocks:
    """How a contribution is made up.

    Attributes:
        sizes: entries of each block.
        radii: L2 norm that a block of one video is clipped to; a block of counts has 1.
    """

    sizes: tuple[int, ...]
    radii: tuple[float, ...]

    def pack(self, *parts: np.ndarray) -> np.ndarray:
        """Blocks (V, k_b) of V videos as contributions (V, sum of k_b), none of a norm above 1."""
        share = 1 / np.sqrt(len(self.sizes))
        scaled = [
            clipped(part.reshape(len(part), size), radius) * (share / radius)
            for part, size, radius in zip(parts, self.sizes, self.radii, strict=True)
        ]
        return np.concatenate(scaled, axis=1)

    def unpack(self, total: np.ndarray) -> list[np.ndarray]:
        """Sums of the clipped blocks, from the sum of contributions."""
        share = 1 / np.sqrt(len(self.sizes))
        parts = np.split(np.asarray(total, np.float64), np.cumsum(self.sizes)[:-1])
        return [part * (radius / share) for part, radius in zip(parts, self.radii, strict=True)]


# Normalisation: how large each dimension is, then mean and variance in that unit.

_MOST_BITS, _TYPICAL_BITS = 10.0, 6.0
_LEAST_SPREAD = 0.1
"""Standard deviation, in units of a dimension's size, below which noise cannot be told from variance."""


def scale_blocks(dim: int) -> Blocks:
    """Of :func:`scale_contributions`: the count, and D binary logarithms that are 6 in size where they are typical."""
    return Blocks((1, dim), (1.0, _TYPICAL_BITS * np.sqrt(dim)))


def scale_contributions(squares: np.ndarray) -> np.ndarray:
    """From each video's mean square per dimension, (V, D): contributions of the logarithms of its size."""
    tiny = 2.0 ** (-2 * _MOST_BITS)
    bits = np.clip(0.5 * np.log2(np.maximum(squares, tiny)), -_MOST_BITS, _MOST_BITS)
    return scale_blocks(squares.shape[1]).pack(np.ones(len(squares)), bits)


def scales_from(total: np.ndarray) -> np.ndarray:
    """(D,) typical size of each dimension, from the sum of :func:`scale_contributions`."""
    count, bits = scale_blocks(len(total) - 1).unpack(total)
    videos = max(float(count[0]), 1.0)
    return 2.0 ** np.clip(bits / videos, -_MOST_BITS, _MOST_BITS)


def moment_blocks(dim: int) -> Blocks:
    """Of :func:`moment_contributions`; in units of its size a dimension's mean is at most 1, its mean square near 1."""
    return Blocks((1, dim, dim), (1.0, np.sqrt(dim), 2 * np.sqrt(dim)))


def moment_contributions(means: np.ndarray, squares: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """From each video's mean and mean square per dimension, (V, D) each, in units of ``scales`` (D,)."""
    return moment_blocks(len(scales)).pack(np.ones(len(means)), means / scales, squares / np.square(scales))


def normaliser_from(total: np.ndarray, scales: np.ndarray) -> tuple[float, Normaliser]:
    """(videos, standardisation), from the sum of :func:`moment_contributions`.

    No dimension is taken for one that never varies: noise does not let that be told.
    """
    count, means, squares = moment_blocks(len(scales)).unpack(total)
    videos = max(float(count[0]), 1.0)
    mean = means / videos
    spread = np.sqrt(np.maximum(squares / videos - np.square(mean), _LEAST_SPREAD**2))
    constants = Normaliser((mean * scales).astype(np.float32), (1 / (spread * scales)).astype(np.float32))
    return videos, constants


# Segregation: a pair a video in standardised units, its centre, then steps of EM about it.

CENTRE = Blocks((1, 2), (1.0, 6.0))
_RADIUS = 3.0
MIXTURE = Blocks((2, 4, 8), (1.0, _RADIUS, _RADIUS**2))
_START_WEIGHTS, _START_RISE = (0.8, 0.2), 1.5
"""Where EM begins: a fifth of the videos apart from the rest by larger rises, of 1.5 bits; covariances are 1."""
_LEAST_WEIGHT, _LEAST_VARIANCE = 0.05, 0.05
_ENTROPY_UNIT = 4.0
"""Entropy per dimension times this varies by about 1 between videos whose variances lie between 0 and 1."""


def summary_pairs(summaries: np.ndarray, dim: int) -> np.ndarray:
    """A video's pair under differential privacy: logarithm of its largest rise, entropy, both per dimension.

    The rise is taken by its logarithm because a clipped one would hide just those videos that stand out.

    Args:
        summaries: (V, 2) largest rise and entropy in standardised features.
        dim: D.

    Returns:
        (V, 2) float64, numbers of order 1.
    """
    rise = np.clip(np.log2(np.maximum(summaries[:, 0] / dim, 2.0**-_MOST_BITS)), -_TYPICAL_BITS, _TYPICAL_BITS)
    return np.stack([rise, _ENTROPY_UNIT * summaries[:, 1] / dim], axis=1)


def centre_contributions(pairs: np.ndarray) -> np.ndarray:
    """Of (V, 2) pairs: (V, 3)."""
    return CENTRE.pack(np.ones(len(pairs)), pairs)


def read_centre(total: np.ndarray) -> np.ndarray:
    """(2,) centre of the pairs, from the sum of :func:`centre_contributions`."""
    count, pairs = CENTRE.unpack(total)
    return pairs / max(float(count[0]), 1.0)


def first_mixture() -> Mixtures:
    """Where the noisy fit begins (R = 1), about the centre."""
    means = np.array([[[-_START_WEIGHTS[1] * _START_RISE, 0.0], [_START_WEIGHTS[0] * _START_RISE, 0.0]]])
    return Mixtures(np.array([_START_WEIGHTS]), means, np.tile(np.eye(2), (1, 2, 1, 1)))


def mixture_contributions(pairs: np.ndarray, responsibility: np.ndarray) -> np.ndarray:
    """A step of EM: responsibilities r, and r z and r z z^T of each component.

    Each block of one video has at most the norm of ``|z|^p`` times that of its responsibilities, which is at most 1.

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


def next_mixture(total: np.ndarray) -> Mixtures:
    """The M-step from the noisy sum of :func:`mixture_contributions` (R = 1).

    Noise is kept from making it impossible: a component keeps a twentieth of the weight, a mean its place within the
    radius, a covariance eigenvalues between 0.05 and the radius squared.
    """
    weight, first, second = MIXTURE.unpack(total)
    share = np.maximum(weight, 0.0)
    share = np.clip(share / max(share.sum(), 1.0), _LEAST_WEIGHT, 1 - _LEAST_WEIGHT)
    share /= share.sum()
    held = np.maximum(weight, share * max(weight.sum(), 1.0))[:, None]
    means = clipped(first.reshape(2, 2) / held, _RADIUS)
    square = second.reshape(2, 2, 2) / held[..., None]
    covariances = (square + np.swapaxes(square, 1, 2)) / 2 - means[:, :, None] * means[:, None, :]
    values, vectors = np.linalg.eigh(covariances)
    values = np.clip(values, _LEAST_VARIANCE, _RADIUS**2)
    return Mixtures(share[None], means[None], np.einsum("kij,kj,klj->kil", vectors, values, vectors)[None])


# The common density of normal magnitudes, in units of D, which is their mean after standardisation.

_MOST_MAGNITUDE = 4.0
GAUSSIAN = Blocks((1, 1, 1), (1.0, _MOST_MAGNITUDE, _MOST_MAGNITUDE**2))


def gaussian_contributions(means: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """From normal videos' mean (V,) and mean square (V,) of magnitudes per dimension: (V, 3)."""
    return GAUSSIAN.pack(np.ones(len(means)), means, squares)


def read_gaussian(total: np.ndarray, dim: int) -> tuple[float, float, float]:
    """(videos, mean, variance) of normal magnitudes, from the sum of :func:`gaussian_contributions`."""
    count, means, squares = (float(part[0]) for part in GAUSSIAN.unpack(total))
    videos = max(count, 1.0)
    mean = float(np.clip(means / videos, 0.0, _MOST_MAGNITUDE))
    variance = max(squares / videos - mean**2, _LEAST_SPREAD**2)
    return videos, mean * dim, variance * dim**2


# Scores of the final model.

SCORE_BINS = 16


def score_contributions(scores: list[np.ndarray]) -> np.ndarray:
    """From each video's scores: its shares of segments in 16 bins that are equal in the score, (V, 16).

    Shares add up to 1, so their norm is at most 1.
    """
    shares = [np.histogram(s, SCORE_BINS, (0.0, 1.0))[0] / max(len(s), 1) for s in scores]
    return np.array(shares).reshape(len(scores), SCORE_BINS)
