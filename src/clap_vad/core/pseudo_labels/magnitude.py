"""Segment magnitudes and averages over regions of a block of features.

Notation of the CLAP paper: x[t, c, :] is region (there: crop) c of segment t, m[t] the magnitude of the segment.
"""

from __future__ import annotations

import numpy as np

__all__ = ["LARGEST", "magnitudes", "region_mean", "region_weights", "unusable_segment"]

LARGEST = 1e7
"""Largest absolute value of a feature, a thousand times what networks output. Variances of squared norms then stay
within the limits of messages and far within float32 and float64."""


def unusable_segment(x: np.ndarray, valid: np.ndarray | None = None) -> int | None:
    """The first segment with a feature that is NaN, infinite or larger than :data:`LARGEST`; None if there is none.

    Args:
        x: (T, C, D), any float type.
        valid: (T, C) bool; invalid regions are ignored.

    >>> unusable_segment(np.array([[[1.0]], [[-1e18]]])), unusable_segment(np.ones((2, 1, 3)))
    (1, None)
    """
    if x.size == 0 or (float(x.max()) <= LARGEST and float(x.min()) >= -LARGEST):  # NaN compares as False
        return None
    usable = np.abs(x).astype(np.float64) <= LARGEST
    if valid is not None:
        usable |= ~valid[..., None]
    broken = ~usable.reshape(len(x), -1).all(axis=1)
    return int(np.argmax(broken)) if broken.any() else None


def region_weights(valid: np.ndarray) -> np.ndarray:
    """Weight of each region in an average over valid regions.

    Args:
        valid: (T, C) bool.

    Returns:
        (T, C) float32; rows add up to 1, or to 0 if the segment has no valid region.

    >>> region_weights(np.array([[True, True], [True, False], [False, False]])).tolist()
    [[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]]
    """
    present = valid.sum(axis=1, keepdims=True)
    return (valid / np.maximum(present, 1)).astype(np.float32)


def magnitudes(x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """m[t] = mean over regions of the squared L2 norm, ``mean_c sum_d x[t,c,d]^2``.

    Args:
        x: (T, C, D) float32.
        valid: (T, C) bool; the mean is over valid regions, 0 if there is none.

    Returns:
        (T,) float64.

    >>> magnitudes(np.array([[[3.0, 4.0], [0.0, 1.0]]], dtype=np.float32)).tolist()
    [13.0]
    """
    if valid is None:
        # One dot product over all regions of a segment: the fastest single pass over the data.
        flat = x.reshape(len(x), -1)
        with np.errstate(over="ignore"):  # callers check for infinity
            return np.vecdot(flat, flat).astype(np.float64) / x.shape[1]
    weights: np.ndarray = region_weights(valid).astype(np.float64)
    return np.vecdot(np.vecdot(x, x).astype(np.float64), weights)


def region_mean(x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Average over valid regions, (T, C, D) -> (T, D) float32; zeros if no region is valid."""
    if valid is None:
        if x.shape[1] == 1:
            return x[:, 0]
        return np.add.reduce(x, axis=1) / np.float32(x.shape[1])
    return np.einsum("tc,tcd->td", region_weights(valid), x)
