"""How surprising a value is beside others: their distribution from a histogram, and a heavy tail beyond.

Histograms over fixed bins add up, so the distribution can be that of many places together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["SHAPE", "SURPRISE_BINS", "TAIL", "Surprise", "histogram_quantile", "value_bins", "value_histogram"]

SURPRISE_BINS = 1024
_LIMIT = 12.0
"""Bins are equal in asinh of the value over [-12, 12], that is to 81,000 either way: fine near 0, coarse far out."""

TAIL = 0.99
"""Quantile beyond which the distribution is taken to be a generalised Pareto one (Pickands 1975)."""

SHAPE = 0.5
"""Of that tail: heavier than an exponential one (0), so that one slip far out does not outweigh all that follows."""


def value_bins(values: np.ndarray) -> np.ndarray:
    """Number of the fixed bin of each of (n,) finite values, int64."""
    at = np.floor((np.arcsinh(values) + _LIMIT) * (SURPRISE_BINS / (2 * _LIMIT))).astype(np.int64)
    return np.clip(at, 0, SURPRISE_BINS - 1)


def value_histogram(values: np.ndarray) -> np.ndarray:
    """Counts of (n,) finite values in the fixed bins, (SURPRISE_BINS,) int64."""
    return np.bincount(value_bins(values), minlength=SURPRISE_BINS)


def histogram_quantile(counts: np.ndarray, q: float) -> float:
    """The value in the middle of the bin in which the share of counts reaches ``q``; 0 where there is none."""
    below = np.cumsum(counts)
    if not below[-1]:
        return 0.0
    at = int(np.searchsorted(below, q * below[-1]))
    return float(np.sinh((at + 0.5) * (2 * _LIMIT / SURPRISE_BINS) - _LIMIT))


@dataclass(frozen=True)
class Surprise:
    """What turns a value into its surprise, ``u = -ln(share of values that are as large or larger)``.

    Its mean over the values themselves is about 1. Beyond their 99 % quantile the share is ``(1 + e)^(-2) / 100``, e
    the excess in units of the mean excess.

    Attributes:
        counts: (SURPRISE_BINS,) int64, of the values that are known.

    >>> values = np.random.default_rng(0).exponential(size=200_000)
    >>> surprise = Surprise(value_histogram(values))
    >>> [round(float(u), 1) for u in surprise(np.array([0.0, 1.0, 3.0, 6.0]))]
    [0.0, 1.0, 3.0, 6.2]
    """

    counts: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """u of (n,) values, float64, at least 0; 0 where nothing is known."""
        edges, below, total, start, scale = self.parts
        if total == 0:
            return np.zeros(len(values))
        at = np.interp(np.arcsinh(values), edges, below)
        body = np.log((total + 1) / (total - at + 1))
        far = -math.log(1 - TAIL) + np.log1p(np.maximum(values - start, 0.0) / scale) / SHAPE
        return np.where(values > start, far, np.minimum(body, -math.log(1 - TAIL)))

    @cached_property
    def parts(self) -> tuple[np.ndarray, np.ndarray, int, float, float]:
        """Edges in asinh, counts below each, all counts, where the tail starts, and its mean excess."""
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
