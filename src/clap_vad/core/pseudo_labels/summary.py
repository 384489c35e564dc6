"""The two summary statistics of a video in CLAP's first stage (CVPR 2024, section 3.1)."""

from __future__ import annotations

import numpy as np

__all__ = ["diagonal_entropy", "largest_rise", "von_neumann_entropy"]

ZERO_VARIANCE = 1e-9
"""Replaces a variance of exactly zero, as in the released code."""


def largest_rise(m: np.ndarray) -> float:
    """``max_t (m[t+1] - m[t])``, the largest rise of the magnitude; 0 for a video of one segment.

    >>> largest_rise(np.array([1.0, 4.0, 2.0]))
    3.0
    """
    return float(np.diff(m).max()) if len(m) > 1 else 0.0


def diagonal_entropy(variance: np.ndarray) -> float:
    """``-sum_d v_d ln v_d`` over the per-dimension variances (ddof 1), the released code's entropy.

    Args:
        variance: (D,) float64 variances of a video's region-averaged features.
    """
    v = np.where(variance == 0, ZERO_VARIANCE, variance)
    return float(-np.sum(v * np.log(v)))


def von_neumann_entropy(rows: np.ndarray) -> float:
    """``-sum_i l_i ln l_i`` over the eigenvalues of the covariance (ddof 1), as the paper defines it.

    For T <= D rows the eigenvalues are computed from the T x T Gram matrix, in O(T^2 D).

    Args:
        rows: (T, D) region-averaged features of a video.

    >>> rows = np.array([[0.0, 0.0], [2.0, 0.0]], dtype=np.float32)  # one eigenvalue: 2
    >>> round(von_neumann_entropy(rows), 6) == round(float(-2 * np.log(2)), 6)
    True
    """
    n = len(rows)
    if n < 2:
        return diagonal_entropy(np.zeros(rows.shape[1]))
    centred = rows.astype(np.float64)
    centred -= centred.mean(axis=0)
    gram = centred @ centred.T if n <= rows.shape[1] else centred.T @ centred
    eigenvalues = np.linalg.eigvalsh(gram) / (n - 1)
    positive = eigenvalues[eigenvalues > ZERO_VARIANCE * max(eigenvalues.max(initial=0.0), 1e-300)]
    return float(-np.sum(positive * np.log(positive)))
