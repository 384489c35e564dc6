"""Two small integers per word, so that a sum of 8-bit numbers needs 16 bits per number instead of 32.

Values a and b in [-B, B] become the word ``a + 2^16 b`` modulo 2^32. The sum of P words modulo 2^32 is
``A + 2^16 A'``, with A and A' the sums of a and of b. While P B < 2^15, the lower half gives A, and after subtracting A
the upper half gives A'. Masks and sessions are independent of this packing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import ClapError

__all__ = ["Lanes", "most_participants"]

_ROOM = (1 << 15) - 1


def most_participants(bound: int) -> int:
    """P: largest number of values up to this bound whose sum stays in its lane.

    >>> most_participants(127)
    258
    """
    return _ROOM // bound


@dataclass(frozen=True)
class Lanes:
    """Encoding of ``int8`` numbers in the 32-bit ring.

    Attributes:
        bound: B, at most 127.
        participants: P: largest number of encoded arrays that may be added.

    Raises:
        ClapError: a bound or a number of participants with which a sum could exceed its lane.
    """

    bound: int
    participants: int

    def __post_init__(self) -> None:
        if not isinstance(self.bound, int) or not 1 <= self.bound <= 127:
            raise ClapError(f"the bound of an int8 must be a whole number from 1 to 127, not {self.bound!r}")
        if self.participants < 1:
            raise ClapError(f"a sum over {self.participants} participants; give at least 1")
        if self.participants > most_participants(self.bound):
            raise ClapError(
                f"the sum of {self.participants} integers up to {self.bound} can overflow 16 bits; at most "
                f"{most_participants(self.bound)} participants can take part"
            )

    @property
    def width(self) -> int:
        """Bits of the ring."""
        return 32

    def words(self, size: int) -> int:
        """Number of words for so many values."""
        return (size + 1) // 2

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Clip to [-B, B] and pack: values 0, 2, 4, ... into lower halves, 1, 3, 5, ... into upper ones.

        Args:
            values: int8, any shape.

        Returns:
            uint32 (words,), with 0 in the last upper half if the number of values is odd, and the number of clipped
            values.

        Raises:
            ClapError: numbers of another kind.

        >>> [hex(word) for word in Lanes(127, 3).encode(np.array([1, 2, -1], np.int8))[0]]
        ['0x20001', '0xffffffff']
        """
        values = np.asarray(values)
        if values.dtype != np.int8:
            raise ClapError(f"{values.dtype} values, but int8 is declared")
        whole = values.reshape(-1).astype(np.int64)
        pairs = np.zeros((self.words(values.size), 2), np.int64)
        pairs.reshape(-1)[: values.size] = np.clip(whole, -self.bound, self.bound)
        clipped = int(np.count_nonzero(np.abs(whole) > self.bound))
        return (pairs[:, 0] + (pairs[:, 1] << 16)).astype(np.uint32), clipped

    def decode(self, sums: np.ndarray) -> np.ndarray:
        """The numbers for packed arrays, or for sums of up to P of them.

        Args:
            sums: uint32 (words,).

        Returns:
            int64 (2 words,); a 0 follows if the number of values is odd.

        >>> word, _ = Lanes(127, 3).encode(np.array([1, -2], np.int8))
        >>> Lanes(127, 3).decode(word + word + word).tolist()
        [3, -6]
        """
        if sums.dtype != np.uint32:
            raise ClapError(f"{sums.dtype} sums, but uint32 is declared")
        lower = sums.astype(np.uint16).astype(np.int16)
        upper = ((sums - lower.astype(np.uint32)) >> np.uint32(16)).astype(np.uint16).astype(np.int16)
        return np.stack([lower, upper], axis=1).reshape(-1).astype(np.int64)
