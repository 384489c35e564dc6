"""Histograms of scores over fixed bins: how quantiles are found without a score leaving its site."""

from __future__ import annotations

import numpy as np

__all__ = ["BINS", "score_histogram", "score_quantile"]

BINS = 4096
_LIMIT = 16.0
"""Bins are equal in the logit over [-16, 16]: detector scores crowd near 0, where equal bins in s would blur them."""


def score_histogram(scores: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Counts of scores in ``BINS`` fixed bins; histograms of several sites simply add up.

    Args:
        scores: (n,) in [0, 1].
        counts: (n,) how often each score counts, whole numbers; None for once.

    Returns:
        (BINS,) int64.
    """
    s = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    logit = np.log(s) - np.log1p(-s)
    bins = np.floor((logit + _LIMIT) * (BINS / (2 * _LIMIT))).astype(np.int64)
    counted = np.bincount(np.clip(bins, 0, BINS - 1), weights=counts, minlength=BINS)
    return counted.astype(np.int64)  # exact: sums of whole numbers below 2^53


def score_quantile(histogram: np.ndarray, q: float) -> float:
    """Upper edge, as a score, of the bin in which the share of scores at or below it reaches ``q``.

    Args:
        histogram: (BINS,) counts, not all zero.
        q: 0 <= q <= 1.

    >>> scores = np.linspace(0.001, 0.999, 1000)
    >>> abs(score_quantile(score_histogram(scores), 0.9) - 0.9) < 0.002
    True
    """
    cumulative = np.cumsum(histogram)
    edge = int(np.searchsorted(cumulative, q * cumulative[-1])) + 1
    logit = edge * (2 * _LIMIT / BINS) - _LIMIT
    return float(1 / (1 + np.exp(-logit)))
