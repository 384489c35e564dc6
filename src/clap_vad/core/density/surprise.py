"""Surprise of a value: its tail probability under a histogram with a heavy parametric tail.

Histograms over fixed bins add up, so the distribution can cover many sites.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["SHAPE", "SURPRISE_BINS", "TAIL", "Surprise", "histogram_quantile", "value_bins", "value_histogram"]

SURPRISE_BINS = 1024
_LIMIT = 12.0
"""Bins are equal in asinh of the value over [-12, 12], so values reach +-81,000: fine near 0, coarse far out."""

TAIL = 0.99
"""Quantile beyond which a generalised Pareto distribution is assumed (Pickands 1975)."""

SHAPE = 0.5
"""Shape of that tail: heavier than exponential (0), so that one extreme outlier does not dominate later values."""


def value_bins(values: np.ndarray) -> np.ndarray:
    """Index of the fixed bin of each of (n,) finite values, int64."""
    at = np.floor((np.arcsinh(values) + _LIMIT) * (SURPRISE_BINS / (2 * _LIMIT))).astype(np.int64)
    return np.clip(at, 0, SURPRISE_BINS - 1)


def value_histogram(values: np.ndarray) -> np.ndarray:
    """Counts of (n,) finite values in the fixed bins, (SURPRISE_BINS,) int64."""
    return np.bincount(value_bins(values), minlength=SURPRISE_BINS)


def histogram_quantile(counts: np.ndarray, q: float) -> float:
    """The middle of the bin in which the cumulative share of counts reaches ``q``; 0 if there are no counts."""
    below = np.cumsum(counts)
    if not below[-1]:
        return 0.0
    at = int(np.searchsorted(below, q * below[-1]))
    return float(np.sinh((at + 0.5) * (2 * _LIMIT / SURPRISE_BINS) - _LIMIT))


@dataclass(frozen=True)
class Surprise:
    """Maps a value to its surprise, ``u = -ln(share of known values that are at least as large)``.

    The mean over the known values is about 1. Beyond their 99 % quantile the share is ``(1 + e)^(-2) / 100``, with e
    the excess in units of the mean excess.

    Attributes:
        counts: (SURPRISE_BINS,) int64, histogram of the known values.

    >>> values = np.random.default_rng(0).exponential(size=200_000)
    >>> surprise = Surprise(value_histogram(values))
    >>> [round(float(u), 1) for u in surprise(np.array([0.0, 1.0, 3.0, 6.0]))]
    [0.0, 1.0, 3.0, 6.2]
    """

    counts: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """u of (n,) values, float64, at least 0; 0 if no values are known."""
        edges, below, total, start, scale = self.parts
        if total == 0:
            return np.zeros(len(values))
        at = np.interp(np.arcsinh(values), edges, below)
        body = np.log((total + 1) / (total - at + 1))
        far = -math.log(1 - TAIL) + np.log1p(np.maximum(values - start, 0.0) / scale) / SHAPE
        return np.where(values > start, far, np.minimum(body, -math.log(1 - TAIL)))

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray, int, float, float]:
        """Edges in asinh, counts below each edge, total count, start of the tail, and its mean excess."""
        edges = np.linspace(-_LIMIT, _LIMIT, SURPRISE_BINS + 1)
        below = np.concatenate(([0], np.cumsum(self.counts)))
        total = int(below[-1])
        if total == 0:
            return edges, below, 0, 0.0, 1.0
        last = int(np.flatnonzero(self.counts)[-1])
        at = min(int(np.searchsorted(below, TAIL * total)), last + 1)
        start = float(np.sinh(edges[at]))
        middles = np.sinh((edges[:-1] + edges[1:]) / 2)
        beyond = np.where(np.arange(SURPRISE_BINS) >= at, self.counts, 0)
        width = float(np.sinh(edges[last + 1]) - np.sinh(edges[last]))
        excess = float(np.dot(beyond, middles - start) / beyond.sum()) if beyond.any() else 0.0
        return edges, below, total, start, max(excess, width)
