"""Numbers as integers modulo 2^32 or 2^64, so that masks can hide them and their sum is exact.

A value x with declared bound B becomes round(2^s x) modulo 2^w. s is the largest integer with
P (2^s B + 1) < 2^(w-1): the sum of P rounded values stays in the signed range, so it never overflows. For integers s is
0, and P B < 2^(w-1) is required.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from ..errors import ClapError

__all__ = ["WIDTHS", "FixedPoint", "largest_exponent"]

WIDTHS = {"float32": 32, "float64": 64, "int64": 64}
"""Bits of the ring per kind of number."""
_EXTREMES = (1e-100, 1e100)
"""Limits of the bounds of floating-point values, so that all scales are normal numbers."""


def largest_exponent(bound: float, participants: int, width: int) -> int:
    """The largest integer s with ``participants * (bound * 2**s + 1) < 2**(width - 1)``, in exact arithmetic.

    Args:
        bound: B > 0.
        participants: P, largest number of summed values.
        width: w, bits of the ring.

    >>> largest_exponent(1.0, 4, 32)
    28
    """
    room = Fraction(1 << (width - 1), participants) - 1
    if room <= 0:
        raise ClapError(f"{participants} participants are too many for a ring of {width} bits")
    ratio = room / Fraction(bound)
    exponent = ratio.numerator.bit_length() - ratio.denominator.bit_length()
    return exponent if Fraction(2) ** exponent < ratio else exponent - 1  # 2^(exponent-1) < ratio < 2^(exponent+1)


@dataclass(frozen=True)
class FixedPoint:
    """Encoding of one kind of number in the ring.

    Attributes:
        dtype: ``float32`` (32 bits), ``float64`` or ``int64`` (64 bits).
        bound: B: values are clipped to [-B, B]; a whole number for ``int64``.
        participants: P: largest number of encoded values that may be added.

    Raises:
        ClapError: a bound that is not positive, or with which a sum could overflow.
    """

    dtype: str
    bound: float
    participants: int

    def __post_init__(self) -> None:
        if self.dtype not in WIDTHS:
            raise ClapError(f"'{self.dtype}' has no fixed-point encoding; use one of {', '.join(WIDTHS)}")
        if self.participants < 1:
            raise ClapError(f"a sum over {self.participants} participants; give at least 1")
        if self.dtype == "int64":
            if not isinstance(self.bound, int) or self.bound < 1:
                raise ClapError(f"the bound of an int64 must be a whole number of at least 1, not {self.bound!r}")
            if self.participants * self.bound >= 1 << (self.width - 1):
                raise ClapError(
                    f"the sum of {self.participants} integers up to {self.bound} can overflow {self.width} bits; "
                    "declare a smaller bound"
                )
        elif not _EXTREMES[0] <= self.bound <= _EXTREMES[1]:  # NaN is refused too
            low, high = _EXTREMES
            raise ClapError(f"the bound of a {self.dtype} must be between {low:g} and {high:g}, not {self.bound!r}")
        else:
            object.__setattr__(self, "bound", float(self.bound))  # the exact clipping bound
        _ = self.exponent  # refuses too many participants early

    @property
    def width(self) -> int:
        """Bits of the ring."""
        return WIDTHS[self.dtype]

    @cached_property
    def exponent(self) -> int:
        """s: values are multiplied by 2^s."""
        return 0 if self.dtype == "int64" else largest_exponent(self.bound, self.participants, self.width)

    @property
    def ring(self) -> type[np.uint32] | type[np.uint64]:
        """Type of the encoded values."""
        return np.uint32 if self.width == 32 else np.uint64

    def words(self, size: int) -> int:
        """Number of ring words for so many values."""
        return size

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Clip, scale, round half to even, reduce modulo 2^w.

        Args:
            values: any shape; finite. Whole numbers for ``int64``.

        Returns:
            uint32 or uint64 of the same shape, and the number of clipped values.

        Raises:
            ClapError: NaN or infinity, or numbers of another kind.

        >>> [part.tolist() if hasattr(part, "tolist") else part for part in
        ...  FixedPoint("float32", 1.0, 4).encode(np.array([-0.5, 2.0]))]
        [[4160749568, 268435456], 1]
        """
        values, bound = np.asarray(values), self.bound
        if not np.can_cast(values.dtype, np.int64 if self.dtype == "int64" else np.float64):
            raise ClapError(f"{values.dtype} values, but {self.dtype} is declared")
        if self.dtype == "int64":
            values = values.astype(np.int64)
        else:
            values = values.astype(np.float64)
            if not np.isfinite(values).all():
                raise ClapError("NaN or infinity cannot be summed")
        clipped = int(np.count_nonzero((values > bound) | (values < -bound)))
        values = np.clip(values, -bound, bound)
        if self.dtype != "int64":  # multiplying by a power of two is exact, so this rounds once
            values = np.asarray(np.rint(np.ldexp(values, self.exponent))).astype(np.int64)
        return np.asarray(values).astype(self.ring), clipped

    def decode(self, sums: np.ndarray) -> np.ndarray:
        """The numbers for encoded values, or for sums of up to P of them.

        Args:
            sums: uint32 or uint64, any shape.

        Returns:
            float64 of the same shape, int64 for integers. A sum of more than 53 significant bits is rounded to the
            nearest float64, ties to even; all others are exact.

        >>> FixedPoint("float32", 1.0, 4).decode(np.array([4160749568], np.uint32)).tolist()
        [-0.5]
        """
        if sums.dtype != self.ring:
            raise ClapError(f"{sums.dtype} sums, but {np.dtype(self.ring)} is declared")
        signed = sums.astype(np.int32 if self.width == 32 else np.int64)  # modulo 2^w, into the signed range
        if self.dtype == "int64":
            return signed
        return np.asarray(np.ldexp(signed.astype(np.float64), -self.exponent))
