"""Statistics of rows with sensitivity 1: sizes, moments, histograms of surprise.

The functions for sites return sums over units of vectors whose L2 norm is at most 1 (a unit is a region, or a video
whose regions count as their mean: ``weights``). The ``read_`` functions take the sum over sites, with noise of a known
standard deviation on every entry.
"""

from __future__ import annotations

import math

import numpy as np

from ..statistics.moments import Normaliser
from .surprise import SURPRISE_BINS, value_bins

__all__ = [
    "PEAK_BINS",
    "SCALE_BINS",
    "SIZE_BINS",
    "counted",
    "moment_sums",
    "most_lengths",
    "near_the_rest",
    "peak_sums",
    "plausible_counts",
    "possible_bounds",
    "read_normaliser",
    "read_peaks",
    "read_scale",
    "read_sizes",
    "scale_sums",
    "size_sums",
    "units_in",
]

SIZE_BINS = 40
"""Bins of absolute values: powers of 2 from 2^-18 on; the first and last bins also hold smaller and larger values."""
_LEAST_POWER = -18
_PLAUSIBLE = 3.0
_CERTAIN = 6.0
"""Least count of a plausible bin, in standard deviations of its noise: usually, and far from all other bins."""

_WIDEST, _NARROWEST = 15.0, 3.0
_VARIANCE_NOISE = 0.02
"""Relative noise of the variance at which rows are clipped, within these limits in root mean squares."""
_LEAST_SPREAD = 0.1


def size_sums(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Histogram of the sizes of the numbers in (n, d) rows: (d, SIZE_BINS); each number counts 1 / sqrt(d)."""
    d = rows.shape[1]
    with np.errstate(divide="ignore"):
        at = np.clip(np.floor(np.log2(np.abs(rows.astype(np.float64)))) - _LEAST_POWER, 0, SIZE_BINS - 1)
    found = [np.bincount(at[:, k].astype(np.int64), weights, SIZE_BINS) for k in range(d)]
    return np.array(found).reshape(d, SIZE_BINS) / math.sqrt(d)


_MOST_FACTOR = 4
"""Sizes are capped this many powers of 2 beyond a quantile."""


def near_the_rest(total: np.ndarray, deviation: float, share: float) -> np.ndarray:
    """Limit a sum of :func:`size_sums` so that no party with less than ``share`` of it determines a size alone.

    Used for masked sums, whose parts nobody sees. Numbers more than 16 times beyond the quantile ``1 - share`` of the
    nonzero numbers are moved there.

    Args:
        total: (d, SIZE_BINS) noisy.
        deviation: standard deviation of the noise.
        share: above 0, below 1.
    """
    result = total.copy()
    for own in result:
        counts = np.where(own > _PLAUSIBLE * deviation, own, 0.0)
        below = np.cumsum(counts[1:])
        if below[-1] > 0:
            last = 1 + int(np.searchsorted(below, (1 - share) * below[-1])) + _MOST_FACTOR
            own[last : last + 1] += counts[last + 1 :].sum()
            own[last + 1 :] = 0.0
    return result


def units_in(total: np.ndarray) -> float:
    """Approximate number of units in a sum of :func:`size_sums`, at least 1."""
    d = len(total)
    return max(float(total.sum()) / d * math.sqrt(d), 1.0)


def read_sizes(total: np.ndarray, deviation: float) -> np.ndarray:
    """(d,) root mean square of each dimension, accurate to 10 or 20 %, from a sum of :func:`size_sums`.

    Bins that noise alone could fill count as empty, and so do small counts far from the others: one false count at a
    size a million times too large would dominate the mean square. A dimension without plausible counts has size 1.
    """
    counts = np.array([plausible_counts(own, deviation, apart=1) for own in total])
    squares = np.square(1.5 * 2.0 ** (np.arange(SIZE_BINS) + float(_LEAST_POWER)))
    held = counts.sum(axis=1)
    return np.where(held > 0, np.sqrt(counts @ squares / np.maximum(held, 1e-300)), 1.0)


def most_lengths(units: float, deviation: float, dim: int) -> float:
    """Clipping length of a row in root mean squares per dimension, chosen by the noise on a sum over so many units."""
    noise = deviation * math.sqrt(3 * dim) / units
    return min(_WIDEST, max(_NARROWEST, math.sqrt(_VARIANCE_NOISE / noise))) if noise else _WIDEST


def possible_bounds(sizes: np.ndarray, most: float) -> bool:
    """Whether :func:`read_sizes` and :func:`most_lengths` can return these values.

    Other values could make :func:`moment_sums` overflow or underflow, so that its bound fails: a row divided by a tiny
    size overflows only if it exceeds a limit, and a refusal would then reveal that it does.

    >>> possible_bounds(np.ones(2), 3.0), possible_bounds(np.full(2, 1e-307), 3.0), possible_bounds(np.ones(2), 1e-100)
    (True, False, False)
    """
    least, largest = 2.0**_LEAST_POWER, 2.0 ** (SIZE_BINS + _LEAST_POWER)
    return bool((sizes >= least).all() and (sizes <= largest).all() and _NARROWEST <= most <= _WIDEST)


def moment_sums(rows: np.ndarray, weights: np.ndarray, sizes: np.ndarray, most: float) -> dict[str, np.ndarray]:
    """Count, sum and sum of squares of (n, d) rows in units of ``sizes``, each row clipped.

    Args:
        rows: (n, d).
        weights: (n,).
        sizes, most: see :func:`possible_bounds`; rows are clipped to ``most`` root mean squares per dimension.

    Returns:
        ``count`` (1,), ``mean`` (d,) and ``square`` (d,), each a third of the squared norm.
    """
    share, radius = 1 / math.sqrt(3), most * math.sqrt(len(sizes))
    scaled = rows.astype(np.float64) / sizes
    shortened = scaled * (radius / np.maximum(np.linalg.norm(scaled, axis=1), radius))[:, None]
    # The squares of a row of length at most R have a norm of at most R^2; equal entries give most^2 sqrt(d).
    squares, limit = np.square(shortened), most**2 * math.sqrt(len(sizes))
    squares *= (limit / np.maximum(np.linalg.norm(squares, axis=1), limit))[:, None]
    return {
        "count": np.array([weights.sum()]) * share,
        "mean": weights @ shortened * (share / radius),
        "square": weights @ squares * (share / limit),
    }


def counted(count: np.ndarray) -> float:
    """Units in a sum of :func:`moment_sums`, at least 1."""
    return max(float(count[0]) * math.sqrt(3), 1.0)


def read_normaliser(
    count: np.ndarray, mean: np.ndarray, square: np.ndarray, deviation: float, sizes: np.ndarray, most: float
) -> Normaliser:
    """Standardisation from sums of :func:`moment_sums`.

    A variance is taken to be at least as large as its noise: a smaller one cannot be measured, and dividing by it would
    amplify noise. A constant dimension has scale 0.
    """
    share, d = 1 / math.sqrt(3), len(sizes)
    units = counted(count)
    first = mean * (most * math.sqrt(d) / share / units)
    second = square * (most**2 * math.sqrt(d) / share / units)
    noise = deviation * most**2 * math.sqrt(d) / share / units
    variance = second - np.square(first)
    still = (variance <= 1e-9 * np.maximum(second, 1e-300)) & (deviation == 0)
    spread = np.sqrt(np.maximum(variance, max(noise, _LEAST_SPREAD**2 if deviation else 0.0)))
    scale = np.where(still, 0.0, 1 / np.maximum(spread * sizes, 1e-300))
    return Normaliser((first * sizes).astype(np.float32), scale.astype(np.float32))


# Coarse histograms: a bin here covers several of the fixed bins to which they are converted.

_FINE, _FIRST_FINE = 6, 256
SCALE_BINS = 112
"""Bins of the values from which surprise is computed: equal in asinh of the value, from -6 to 9.75."""


def scale_sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts of (n,) finite values in the bins, (SCALE_BINS,)."""
    at = np.clip((value_bins(values) - _FIRST_FINE) // _FINE, 0, SCALE_BINS - 1)
    return np.bincount(at, weights, SCALE_BINS)


def read_scale(total: np.ndarray, deviation: float, resolution: float = 1.0) -> np.ndarray:
    """(SURPRISE_BINS,) int64 counts from a sum of :func:`scale_sums`, spread evenly within each coarse bin.

    Bins that noise alone could fill count as empty, and so do small counts beyond two such bins: a few false counts far
    out would make up the whole tail.
    """
    return _spread(plausible_counts(total, deviation), _FINE, _FIRST_FINE, SURPRISE_BINS, resolution)


PEAK_BINS = 64
_PEAK_FINE, _FIRST_PEAK = 20, 1536
"""A bin here covers 20 fixed score bins (``core/statistics/histogram``), from a logit of -4 to 6."""


def peak_sums(bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Coarse histogram (PEAK_BINS,) of segments whose scores lie in these (n,) fixed bins."""
    at = np.clip((bins - _FIRST_PEAK) // _PEAK_FINE, 0, PEAK_BINS - 1)
    return np.bincount(at, weights, PEAK_BINS)


def read_peaks(total: np.ndarray, deviation: float, bins: int, resolution: float = 1.0) -> np.ndarray:
    """(bins,) int64 counts in the fixed score bins, from a sum of :func:`peak_sums`."""
    return _spread(plausible_counts(total, deviation), _PEAK_FINE, _FIRST_PEAK, bins, resolution)


def _spread(counts: np.ndarray, fine: int, first: int, bins: int, resolution: float) -> np.ndarray:
    """(bins,) int64 from coarse counts: each covers ``fine`` bins, from bin ``first`` on, and is spread evenly."""
    result = np.zeros(bins, np.int64)
    below = np.rint(resolution * np.concatenate([[0.0], np.cumsum(np.repeat(counts, fine) / fine)]))
    result[first : first + fine * len(counts)] = np.diff(below).astype(np.int64)
    return result


def plausible_counts(total: np.ndarray, deviation: float, apart: int = 2) -> np.ndarray:
    """Counts without bins that noise alone could fill.

    Args:
        total: (n,) noisy.
        deviation: standard deviation of the noise.
        apart: a gap of more than this many bins separates a group of bins from the main one; such a group is kept only
            if one of its counts is too large to be noise.
    """
    if not deviation:
        return np.maximum(total, 0.0)
    counts = np.where(total > _PLAUSIBLE * deviation, total, 0.0)
    held, below = np.flatnonzero(counts), np.cumsum(counts)
    middle = int(np.searchsorted(below, below[-1] / 2))  # not the fullest bin: a single malicious site could fill it
    for group in np.split(held, np.flatnonzero(np.diff(held) > apart) + 1):
        if middle not in group and counts[group].max(initial=0.0) < _CERTAIN * deviation:
            counts[group] = 0.0
    return counts
