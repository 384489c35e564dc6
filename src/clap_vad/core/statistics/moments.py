"""Moments that add up across blocks, videos and participants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Moments", "Normaliser", "SpreadAccumulator", "near", "within_reach"]

_FAR, _LEAST = 30.0, 1e-3
"""Largest root mean square and smallest standard deviation of standardised rows."""
_ENOUGH = 30
_ODD_SHARE = 0.05


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares per feature dimension; ``a + b`` describes both data sets together.

    Attributes:
        count: number of vectors.
        sum, sumsq: (D,) float64.

    >>> a, b = Moments.of(np.array([[1.0], [2.0]])), Moments.of(np.array([[6.0]]))
    >>> (a + b).count, float((a + b).mean[0])
    (3, 3.0)
    """

    count: int
    sum: np.ndarray
    sumsq: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Moments:
        """Moments of (n, D) rows."""
        wide = rows.astype(np.float64)
        return cls(len(wide), wide.sum(axis=0), np.square(wide).sum(axis=0))

    @classmethod
    def zero(cls, dim: int) -> Moments:
        """Moments of no rows."""
        return cls(0, np.zeros(dim), np.zeros(dim))

    @classmethod
    def total(cls, parts: Iterable[Moments], dim: int) -> Moments:
        """Sum of the parts, in their order (floating-point addition is not associative)."""
        result = cls.zero(dim)
        for part in parts:
            result = result + part
        return result

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.sum + other.sum, self.sumsq + other.sumsq)

    @property
    def mean(self) -> np.ndarray:
        """(D,) float64; zeros if there are no rows."""
        return self.sum / max(self.count, 1)

    @property
    def std(self) -> np.ndarray:
        """(D,) float64 standard deviation, ddof 0."""
        return np.sqrt(np.maximum(self.sumsq / max(self.count, 1) - np.square(self.mean), 0.0))


@dataclass(frozen=True)
class Normaliser:
    """Standardisation per dimension, ``(x - mean) * scale``, with constants known to every site.

    Attributes:
        mean: (D,) float32.
        scale: (D,) float32, 1 / std; 0 for a constant dimension, which carries no information.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def from_moments(cls, moments: Moments) -> Normaliser:
        """Constants from summed moments; a std below 1e-6 of the mean's size counts as constant."""
        std, floor = moments.std, 1e-6 * np.maximum(np.abs(moments.mean), 1e-6)
        scale = np.where(std > floor, 1.0 / np.maximum(std, floor), 0.0)
        return cls(moments.mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Standardise (..., D) float32 in place and return it."""
        np.subtract(x, self.mean, out=x)
        return np.multiply(x, self.scale, out=x)


def near(own: Moments, sent: Normaliser) -> bool:
    """Whether a common normalisation is plausible for data that includes these rows, dimension by dimension.

    - :func:`within_reach` holds, so the rows' mean lies within 30 common standard deviations.
    - No dimension is scaled away: the standardised rows have a standard deviation of at least 1/1000. A camera with far
      larger numbers than the others can legitimately make it small, so the bound is loose. Exempt are dimensions in
      which the rows are constant, one in twenty dimensions (some hardly vary at one camera), and fewer than 30 rows.

    Args:
        own: moments of the rows, D dimensions.
        sent: constants for D dimensions, finite, scale at least 0.

    >>> rows = np.random.default_rng(0).normal(5.0, 2.0, (100, 3)).astype(np.float32)
    >>> common = Normaliser.from_moments(Moments.of(rows))
    >>> near(Moments.of(rows), common)
    True
    >>> near(Moments.of(rows), Normaliser(common.mean, common.scale * np.array([1, 100, 1], np.float32)))
    False
    """
    if not within_reach(own, sent):
        return False
    varies = Normaliser.from_moments(own).scale > 0
    dull = int((varies & (own.std * sent.scale < _LEAST)).sum())
    return own.count < _ENOUGH or dull <= _ODD_SHARE * len(sent.scale)


def within_reach(own: Moments, sent: Normaliser) -> bool:
    """Whether the standardised rows have a root mean square of at most 30 in every dimension.

    The common variance is at least the rows' share of ``std^2 + (mean - common mean)^2``. So honest constants never
    fail if these are more than 1/900 of all rows, and rarely if they are fewer. A scale that would separate single rows
    from the others fails.
    """
    scale = sent.scale.astype(np.float64)
    spread, offset = own.std * scale, (own.mean - sent.mean) * scale
    return own.count == 0 or bool((np.hypot(spread, offset) <= _FAR).all())


class SpreadAccumulator:
    """Variance per dimension of a long series in bounded memory (Chan, Golub and LeVeque 1983, eq. 2.1).

    Each block's mean is subtracted before squaring, so large means cause no cancellation.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self.squares = np.zeros(dim)

    def add(self, rows: np.ndarray) -> None:
        """Add (n, D) rows."""
        n = len(rows)
        if n == 0:
            return
        mean = rows.mean(axis=0, dtype=np.float64)
        centred = rows - mean.astype(np.float32)
        # The float32 mean has an error of at most half an ulp; the correction term removes it from the squares.
        off = centred.mean(axis=0, dtype=np.float64)
        squares = np.einsum("td,td->d", centred, centred).astype(np.float64) - n * np.square(off)
        delta = mean - self.mean
        total = self.count + n
        self.squares += np.maximum(squares, 0.0) + np.square(delta) * (self.count * n / total)
        self.mean += delta * (n / total)
        self.count = total

    def variance(self) -> np.ndarray:
        """(D,) float64, ddof 1; zeros for fewer than two rows."""
        return self.squares / (self.count - 1) if self.count > 1 else np.zeros_like(self.squares)
