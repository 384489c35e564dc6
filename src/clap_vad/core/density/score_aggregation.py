"""From the surprise of every crop to the score of every segment: along an object, over objects, over time."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["KEPT", "REACH", "WITHIN", "along_objects", "over_crops", "over_time", "reach_of", "squashed"]

WITHIN = 12
"""Segments before and after in which the same object's surprise counts."""

KEPT = 0.85
"""Share of these, from the lowest, whose mean is taken."""

REACH = 4.0
"""Deviations after which a Gaussian ends."""


def along_objects(surprise: np.ndarray, valid: np.ndarray, gap: int, causal: bool = False) -> np.ndarray:
    """What is known of an object by what it does before and after, for crops that are followed.

    In place of a surprise stands the mean over the same object's within 12 segments, the upper 15 % left out: a
    tracker's slip is soon over, what somebody does is not.

    Args:
        surprise: (T, C).
        valid: (T, C) bool.
        gap: a crop that is absent for more segments than these is another object afterwards.
        causal: look back only.

    Returns:
        (T, C) float64, 0 where a crop is absent.

    >>> along_objects(np.array([[1.0], [9.0], [3.0]]), np.array([[True], [False], [True]]), gap=1).ravel().tolist()
    [2.0, 0.0, 2.0]
    """
    result = np.zeros(surprise.shape)
    for crop in range(surprise.shape[1]):
        present = np.flatnonzero(valid[:, crop])
        for times in np.split(present, np.flatnonzero(np.diff(present) > gap + 1) + 1):
            own = surprise[times, crop]
            first = np.searchsorted(times, times - WITHIN)
            last = np.arange(1, len(times) + 1) if causal else np.searchsorted(times, times + WITHIN, side="right")
            for at, (start, stop) in enumerate(zip(first, last, strict=True)):
                kept = np.sort(own[start:stop])[: math.ceil(KEPT * (stop - start))]
                result[times[at], crop] = np.add.reduce(kept) / len(kept)  # their mean; .mean() takes twice as long
    return result


def over_crops(surprise: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """The largest of the crops present, (T, C) -> (T,); 0 where none is: nothing is there."""
    shown = surprise if valid is None else np.where(valid, surprise, 0.0)
    return np.asarray(shown.max(axis=1, initial=0.0))


def reach_of(sigma: float) -> int:
    """Segments on either side that have a weight in :func:`over_time`."""
    return math.ceil(REACH * sigma)


def over_time(surprise: np.ndarray, sigma: float, causal: bool = False) -> np.ndarray:
    """A Gaussian mean over neighbouring segments, its weights summing to 1 at the ends too.

    Args:
        surprise: (T,).
        sigma: in segments; 0 for none.
        causal: look back only, with a half Gaussian.

    >>> over_time(np.array([0.0, 0.0, 1.0, 0.0]), 1.0, causal=True).round(2).tolist()
    [0.0, 0.0, 0.57, 0.35]
    """
    reach = min(reach_of(sigma), len(surprise) - 1)  # broken videos name millions of frames per second
    if reach <= 0:
        return surprise.astype(np.float64)
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    if causal:
        kernel[:reach] = 0  # of np.convolve, which turns it round: what lies ahead
    weighted, weight = (
        np.convolve(values, kernel)[reach : reach + len(surprise)] for values in (surprise, np.ones(len(surprise)))
    )
    return np.asarray(weighted / weight)


def squashed(surprise: np.ndarray) -> np.ndarray:
    """Scores in [0, 1) in the order of the surprise, float32: ``u / (1 + u)``, whose logit is ln u.

    >>> squashed(np.array([0.0, 1.0, 99.0])).round(2).tolist()
    [0.0, 0.5, 0.9900000095367432]
    """
    return (surprise / (1 + surprise)).astype(np.float32)
