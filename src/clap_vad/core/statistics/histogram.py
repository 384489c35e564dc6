"""Histograms of scores over fixed bins: common quantiles without sending single scores."""

from __future__ import annotations

import numpy as np

__all__ = [
    "BINS",
    "bin_edges",
    "bounded_sum",
    "finer",
    "logit",
    "score_bins",
    "score_histogram",
    "score_quantile",
]

BINS = 4096
_LIMIT = 16.0
"""Bins are equal in the logit over [-16, 16]: many scores lie near 0, where bins equal in the score are too coarse."""


def bin_edges() -> np.ndarray:
    """The bins' edges as scores, ascending from 0 to 1: (BINS + 1,) float64.

    >>> edges = bin_edges()
    >>> edges[[0, BINS // 2, BINS]]
    array([0. , 0.5, 1. ])
    """
    edges: np.ndarray = 1 / (1 + np.exp(-np.linspace(-_LIMIT, _LIMIT, BINS + 1)))
    edges[0], edges[-1] = 0.0, 1.0
    return edges


def logit(scores: np.ndarray) -> np.ndarray:
    """``ln(s / (1 - s))`` of (n,) scores in [0, 1], float64; finite at 0 and 1 too."""
    s = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(np.log(s) - np.log1p(-s))


def score_bins(scores: np.ndarray) -> np.ndarray:
    """Index of the fixed bin of each of (n,) scores in [0, 1], int64."""
    bins = np.floor((logit(scores) + _LIMIT) * (BINS / (2 * _LIMIT))).astype(np.int64)
    return np.clip(bins, 0, BINS - 1)


def score_histogram(scores: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Counts of scores in ``BINS`` fixed bins; histograms of several sites add up.

    Args:
        scores: (n,) in [0, 1].
        counts: (n,) how often each score counts, whole numbers; None means once.

    Returns:
        (BINS,) int64.
    """
    counted = np.bincount(score_bins(scores), weights=counts, minlength=BINS)
    return counted.astype(np.int64)  # exact: sums of whole numbers below 2^53


def bounded_sum(histograms: np.ndarray) -> np.ndarray:
    """The sum of several sites' histograms, in which no site alone determines how many scores are high.

    If at least three sites have scores, a site counts above every edge at most as much as all others together. A site
    that puts all its scores into the last bin cannot raise a quantile to the top, because at least half of the scores
    above an edge come from the others. If no site holds the majority of the high scores, the result is the plain sum.

    Args:
        histograms: (P, n) counts.

    Returns:
        (n,) of the same type.

    >>> bounded_sum(np.array([[5, 3, 2], [6, 2, 2], [0, 0, 9]])).tolist()
    [11, 10, 8]
    """
    if (histograms.sum(axis=1) > 0).sum() < 3:
        return np.asarray(histograms.sum(axis=0))
    above = np.cumsum(histograms[:, ::-1], axis=1)
    total = above.sum(axis=0)
    bounded = np.minimum(total, 2 * (total - above.max(axis=0)))
    return np.asarray(np.diff(bounded, prepend=0)[::-1])


def score_quantile(histogram: np.ndarray, q: float) -> float:
    """Upper edge, as a score, of the bin in which the cumulative share of scores reaches ``q``.

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


def finer(shares: np.ndarray, resolution: int = 1000) -> np.ndarray:
    """Convert a histogram over n bins that are equal in the score to the fixed bins, evenly within each bin.

    Args:
        shares: (n,) at least 0.
        resolution: count for a share of 1.

    Returns:
        (BINS,) int64.

    >>> abs(score_quantile(finer(np.array([1.0, 3.0])), 0.5) - 2 / 3) < 0.01
    True
    """
    below = np.interp(bin_edges(), np.linspace(0, 1, len(shares) + 1), np.concatenate(([0.0], np.cumsum(shares))))
    return np.diff(np.rint(resolution * below)).astype(np.int64)
