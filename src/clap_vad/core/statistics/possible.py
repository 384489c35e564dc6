"""Plausibility checks of sums: whether a count, a sum and a sum of squares are consistent.

Every check returns None, or the reason why no data has such sums. ``error`` is the tolerance of each number: 0 for
plain sums, the fixed-point rounding for masked sums.
"""

from __future__ import annotations

import numpy as np

__all__ = ["counted", "moments", "outer_products"]

_ROUNDING = 1e-6
"""Relative tolerance: honest float64 sums are far more accurate, and an error of this size is harmless."""

_FARTHEST = 1e100
"""Largest mean; its square is still finite."""


def moments(count: float, total: np.ndarray, squares: np.ndarray, error: float = 0.0) -> str | None:
    """Check ``n sum x^2 >= (sum x)^2`` (Cauchy-Schwarz), and that sums without numbers are 0.

    Args:
        count: n.
        total, squares: ``sum x`` and ``sum x^2``, any shape.
        error: see the module.

    >>> moments(2, np.array(4.0), np.array(8.0)) is None, moments(2, np.array(4.0), np.array(7.0))
    (True, 'a sum of squares is too small for its sum')
    """
    n, s, q = float(count), np.asarray(total, np.float64), np.asarray(squares, np.float64)
    if n <= 0:
        largest = max(np.abs(s).max(initial=0), np.abs(q).max(initial=0))
        return None if largest <= error else "its count is 0, but its sums are not"
    mean = np.abs(s) / n
    slack = _ROUNDING * mean * np.abs(s) + error * (1 + 2 * mean)
    return "a sum of squares is too small for its sum" if (q - mean * np.abs(s) < -slack).any() else None


def outer_products(
    mass: np.ndarray, total: np.ndarray, products: np.ndarray, error: float = 0.0, centred: bool = False
) -> str | None:
    """Check that a weighted sum of outer products is symmetric and has no negative variance in any direction.

    Args:
        mass: (...) ``sum w``.
        total: (..., d) ``sum w x``.
        products: (..., d, d) ``sum w x x^T``.
        error: see the module.
        centred: subtract the mean first: check ``sum w x x^T - (sum w x)(sum w x)^T / sum w``.

    >>> outer_products(np.array(1.0), np.zeros(2), np.diag([1.0, -1.0]))
    'a sum of products has a negative variance'
    """
    w, s, p = (np.asarray(value, np.float64) for value in (mass, total, products))
    size = np.abs(p).max(axis=(-2, -1), initial=0)
    scale = size.max(initial=0)
    if np.abs(p - np.swapaxes(p, -1, -2)).max(initial=0) > _ROUNDING * scale + 2 * error:
        return "a sum of products is not symmetric"
    empty = w <= error  # a weight this small may be rounding only
    if error == 0 and (size[empty].any() or s[empty].any()):
        return "its weight is 0, but its sums are not"
    with np.errstate(over="ignore"):
        mean = s / np.where(empty, 1.0, w)[..., None]
    if not (np.abs(mean) <= _FARTHEST).all():
        return "its weight is too small for its sums"
    spread = p - (mean[..., :, None] * s[..., None, :] if centred else 0.0)
    least = np.linalg.eigvalsh((spread + np.swapaxes(spread, -1, -2)) / 2)[..., 0]
    reach = np.abs(mean).max(axis=-1, initial=0)
    slack = _ROUNDING * (size + reach * np.abs(s).max(axis=-1, initial=0)) + 4 * error * p.shape[-1] * (1 + reach) ** 2
    return "a sum of products has a negative variance" if (~empty & (least < -slack)).any() else None


def counted(parts: np.ndarray, count: float, error: float = 0.0) -> str | None:
    """Check that parts add up to their count.

    >>> counted(np.array([1.0, 2.0]), 3), counted(np.array([1.0, 2.0]), 4)
    (None, 'its parts do not add up to its count')
    """
    values = np.asarray(parts, np.float64)
    slack = _ROUNDING * max(float(count), 1.0) + error * (values.size + 1)
    return None if abs(values.sum() - count) <= slack else "its parts do not add up to its count"
