"""Statistics of rows that one unit moves by at most 1: sizes, moments, histograms of surprise.

Each function that a site calls gives a sum over its units of vectors whose L2 norm is at most 1, whatever a unit holds
(a unit is a crop, or a video whose crops count as their mean: ``weights``). Each ``read_`` function takes such a sum,
added up over sites, with noise of a known standard deviation on every entry.
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
    "believed",
    "counted",
    "moment_sums",
    "most_lengths",
    "near_the_rest",
    "peak_sums",
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
"""Of absolute values: powers of 2 from 2^-18 on; smaller values are in the first bin, larger ones in the last."""
_LEAST_POWER = -18
_BELIEVED = 3.0
_CERTAIN = 6.0
"""Standard deviations of its noise that a bin must hold to be believed, and to be believed far from all others."""

_WIDEST, _NARROWEST = 15.0, 3.0
_VARIANCE_NOISE = 0.02
"""Rows are shortened to so many root mean squares as leave the variance about this part of noise."""
_LEAST_SPREAD = 0.1


def size_sums(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How large the numbers of (n, d) rows are: (d, SIZE_BINS), a count of 1 / sqrt(d) for each."""
    d = rows.shape[1]
    with np.errstate(divide="ignore"):
        at = np.clip(np.floor(np.log2(np.abs(rows.astype(np.float64)))) - _LEAST_POWER, 0, SIZE_BINS - 1)
    found = [np.bincount(at[:, k].astype(np.int64), weights, SIZE_BINS) for k in range(d)]
    return np.array(found).reshape(d, SIZE_BINS) / math.sqrt(d)


_MOST_FACTOR = 4
"""Powers of 2 beyond a quantile of the sizes at which larger ones count."""


def near_the_rest(total: np.ndarray, deviation: float, share: float) -> np.ndarray:
    """A sum of :func:`size_sums` in which nobody who holds less than ``share`` of it alone sets a size.

    For sums under masks, whose parts nobody sees. Of the numbers that are not 0, what lies more than 16 times beyond
    the quantile ``1 - share`` counts as lying there.

    Args:
        total: (d, SIZE_BINS) noisy.
        deviation: of the noise.
        share: above 0, below 1.
    """
    result = total.copy()
    for own in result:
        counts = np.where(own > _BELIEVED * deviation, own, 0.0)
        below = np.cumsum(counts[1:])
        if below[-1] > 0:
            last = 1 + int(np.searchsorted(below, (1 - share) * below[-1])) + _MOST_FACTOR
            own[last : last + 1] += counts[last + 1 :].sum()
            own[last + 1 :] = 0.0
    return result


def units_in(total: np.ndarray) -> float:
    """About how many units a sum of :func:`size_sums` is over, at least 1."""
    d = len(total)
    return max(float(total.sum()) / d * math.sqrt(d), 1.0)


def read_sizes(total: np.ndarray, deviation: float) -> np.ndarray:
    """(d,) root mean square of each dimension, to within a tenth or two, from a sum of :func:`size_sums`.

    Bins that noise alone might fill count as empty, and so does a little that lies apart from most: one count that is
    not there, at a size a million times too large, would be all of the mean square. A dimension of which nothing is
    believed has size 1.
    """
    counts = np.array([believed(own, deviation, apart=1) for own in total])
    squares = np.square(1.5 * 2.0 ** (np.arange(SIZE_BINS) + float(_LEAST_POWER)))
    held = counts.sum(axis=1)
    return np.where(held > 0, np.sqrt(counts @ squares / np.maximum(held, 1e-300)), 1.0)


def most_lengths(units: float, deviation: float, dim: int) -> float:
    """How many root mean squares per dimension a row is shortened to, by the noise on a sum over so many units."""
    noise = deviation * math.sqrt(3 * dim) / units
    return min(_WIDEST, max(_NARROWEST, math.sqrt(_VARIANCE_NOISE / noise))) if noise else _WIDEST


def possible_bounds(sizes: np.ndarray, most: float) -> bool:
    """Whether :func:`read_sizes` and :func:`most_lengths` can have found these.

    Others could make :func:`moment_sums` overflow or vanish, and then its bound does not hold: a row divided by a tiny
    size is infinite if it is larger than a limit that the size sets, and whether it is would be told by a refusal.

    >>> possible_bounds(np.ones(2), 3.0), possible_bounds(np.full(2, 1e-307), 3.0), possible_bounds(np.ones(2), 1e-100)
    (True, False, False)
    """
    least, largest = 2.0**_LEAST_POWER, 2.0 ** (SIZE_BINS + _LEAST_POWER)
    return bool((sizes >= least).all() and (sizes <= largest).all() and _NARROWEST <= most <= _WIDEST)


def moment_sums(rows: np.ndarray, weights: np.ndarray, sizes: np.ndarray, most: float) -> dict[str, np.ndarray]:
    """Count, sum and sum of squares of (n, d) rows in units of ``sizes``, each row shortened.

    Args:
        rows: (n, d).
        weights: (n,).
        sizes, most: :func:`possible_bounds`; a row is shortened to ``most`` root mean squares per dimension.

    Returns:
        ``count`` (1,), ``mean`` (d,) and ``square`` (d,), each a third of the squared norm.
    """
    share, radius = 1 / math.sqrt(3), most * math.sqrt(len(sizes))
    scaled = rows.astype(np.float64) / sizes
    shortened = scaled * (radius / np.maximum(np.linalg.norm(scaled, axis=1), radius))[:, None]
    # The squares of a row of length at most R have a norm of at most R^2; most^2 sqrt(d) is what even ones have.
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

    A variance is taken to be at least as large as its noise: a smaller one cannot be told, and dividing by it would
    turn noise into the largest number of all. A dimension that does not vary at all has scale 0.
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


# Histograms: a bin here is several of the bins in which they are read.

_FINE, _FIRST_FINE = 6, 256
SCALE_BINS = 112
"""Of what surprise is measured on: equal in asinh of the value, from -6 to 9.75."""


def scale_sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts of (n,) finite values in the bins, (SCALE_BINS,)."""
    at = np.clip((value_bins(values) - _FIRST_FINE) // _FINE, 0, SCALE_BINS - 1)
    return np.bincount(at, weights, SCALE_BINS)


def read_scale(total: np.ndarray, deviation: float, resolution: float = 1.0) -> np.ndarray:
    """(SURPRISE_BINS,) int64 counts from a sum of :func:`scale_sums`, spread evenly within a bin.

    What noise might have filled counts as empty, and so does a little beyond two such bins next to each other: far out
    a few counts that are not there would make up the whole tail.
    """
    return _spread(believed(total, deviation), _FINE, _FIRST_FINE, SURPRISE_BINS, resolution)


PEAK_BINS = 64
_PEAK_FINE, _FIRST_PEAK = 20, 1536
"""A bin here is 20 of the fixed bins of scores (``core/statistics/histogram``), from a logit of -4 to one of 6."""


def peak_sums(bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts of segments, whose scores lie in these (n,) fixed bins, in the coarse ones, (PEAK_BINS,)."""
    at = np.clip((bins - _FIRST_PEAK) // _PEAK_FINE, 0, PEAK_BINS - 1)
    return np.bincount(at, weights, PEAK_BINS)


def read_peaks(total: np.ndarray, deviation: float, bins: int, resolution: float = 1.0) -> np.ndarray:
    """(bins,) int64 counts in the fixed bins of scores, from a sum of :func:`peak_sums`."""
    return _spread(believed(total, deviation), _PEAK_FINE, _FIRST_PEAK, bins, resolution)


def _spread(counts: np.ndarray, fine: int, first: int, bins: int, resolution: float) -> np.ndarray:
    """(bins,) int64: counts of bins that are ``fine`` of these each, from the ``first`` on, evenly within a bin."""
    result = np.zeros(bins, np.int64)
    below = np.rint(resolution * np.concatenate([[0.0], np.cumsum(np.repeat(counts, fine) / fine)]))
    result[first : first + fine * len(counts)] = np.diff(below).astype(np.int64)
    return result


def believed(total: np.ndarray, deviation: float, apart: int = 2) -> np.ndarray:
    """Counts without what noise alone might be.

    Args:
        total: (n,) noisy.
        deviation: of the noise.
        apart: so many bins that might be noise part what lies beyond them from what most lie in; it is then believed
            only where one of its bins holds so much that no bin of noise would.
    """
    if not deviation:
        return np.maximum(total, 0.0)
    counts = np.where(total > _BELIEVED * deviation, total, 0.0)
    held, below = np.flatnonzero(counts), np.cumsum(counts)
    middle = int(np.searchsorted(below, below[-1] / 2))  # the fullest may be one liar's
    for group in np.split(held, np.flatnonzero(np.diff(held) > apart) + 1):
        if middle not in group and counts[group].max(initial=0.0) < _CERTAIN * deviation:
            counts[group] = 0.0
    return counts
