"""From the surprise of regions to segment scores: aggregation along an object, over regions and over time."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["KEPT", "REACH", "WITHIN", "along_objects", "over_regions", "over_time", "reach_of", "squashed"]

WITHIN = 12
"""Half-width, in segments, of the window over one object's surprise."""

KEPT = 0.85
"""Share of these values, from the lowest, that is averaged."""

REACH = 4.0
"""Radius of the truncated Gaussian, in standard deviations."""


def along_objects(surprise: np.ndarray, valid: np.ndarray, gap: int, causal: bool = False) -> np.ndarray:
    """Smooth the surprise of tracked objects over time.

    Each value becomes the mean over the same object within 12 segments, without the upper 15 %: errors of the tracker
    are short, behaviour is not.

    Args:
        surprise: (T, C), C the track slots.
        valid: (T, C) bool.
        gap: a slot that is invalid for more than this many segments holds another object afterwards.
        causal: use past segments only.

    Returns:
        (T, C) float64, 0 where invalid.

    >>> along_objects(np.array([[1.0], [9.0], [3.0]]), np.array([[True], [False], [True]]), gap=1).ravel().tolist()
    [2.0, 0.0, 2.0]
    """
    result = np.zeros(surprise.shape)
    for slot in range(surprise.shape[1]):
        present = np.flatnonzero(valid[:, slot])
        for times in np.split(present, np.flatnonzero(np.diff(present) > gap + 1) + 1):
            own = surprise[times, slot]
            first = np.searchsorted(times, times - WITHIN)
            last = np.arange(1, len(times) + 1) if causal else np.searchsorted(times, times + WITHIN, side="right")
            for at, (start, stop) in enumerate(zip(first, last, strict=True)):
                kept = np.sort(own[start:stop])[: math.ceil(KEPT * (stop - start))]
                result[times[at], slot] = np.add.reduce(kept) / len(kept)  # the mean; .mean() takes twice as long
    return result


def over_regions(surprise: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Largest surprise of the valid regions, (T, C) -> (T,); 0 if no region is valid."""
    shown = surprise if valid is None else np.where(valid, surprise, 0.0)
    return np.asarray(shown.max(axis=1, initial=0.0))


def reach_of(sigma: float) -> int:
    """Segments on either side with a nonzero weight in :func:`over_time`."""
    return math.ceil(REACH * sigma)


def over_time(surprise: np.ndarray, sigma: float, causal: bool = False) -> np.ndarray:
    """Gaussian smoothing over segments; the weights sum to 1 at the ends too.

    Args:
        surprise: (T,).
        sigma: in segments; 0 for no smoothing.
        causal: use past segments only, with a half Gaussian.

    >>> over_time(np.array([0.0, 0.0, 1.0, 0.0]), 1.0, causal=True).round(2).tolist()
    [0.0, 0.0, 0.57, 0.35]
    """
    reach = min(reach_of(sigma), len(surprise) - 1)  # damaged videos may state millions of frames per second
    if reach <= 0:
        return surprise.astype(np.float64)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    if causal:
        kernel[:reach] = 0  # future segments: np.convolve reverses the kernel
    weighted, weight = (
        np.convolve(values, kernel)[reach : reach + len(surprise)] for values in (surprise, np.ones(len(surprise)))
    )
    return np.asarray(weighted / weight)


def squashed(surprise: np.ndarray) -> np.ndarray:
    """Scores in [0, 1), monotonic in the surprise, float32: ``u / (1 + u)``, whose logit is ln u.

    >>> squashed(np.array([0.0, 1.0, 99.0])).round(2).tolist()
    [0.0, 0.5, 0.9900000095367432]
    """
    return (surprise / (1 + surprise)).astype(np.float32)
