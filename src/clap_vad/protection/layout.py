"""Where every entry of a message stands in the two vectors that are summed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import ClapError
from .fixed_point import FixedPoint
from .lanes import Lanes
from .packing import digest

__all__ = ["Encoded", "Entry", "Layout"]


@dataclass(frozen=True)
class Entry:
    """One entry of a message.

    Attributes:
        name: its key in the message.
        shape: sizes; ``()`` is a scalar.
        dtype: ``float32`` goes to the ring of 32 bits, ``int8`` to lanes of 16 bits in it, ``float64`` and ``int64`` to
            the ring of 64 bits.
        bound: every value is clipped to [-bound, bound].
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bound: float


@dataclass(frozen=True)
class Encoded:
    """A message in fixed point.

    Attributes:
        narrow: uint32 vector of all float32 and int8 entries.
        wide: uint64 vector of all other entries.
        clipped: per entry how many of its values were clipped to the bound.
    """

    narrow: np.ndarray
    wide: np.ndarray
    clipped: Mapping[str, int]


class Layout:
    """An ordered description of messages whose sum is wanted.

    Args:
        entries: the description; the order of it is the order in the vectors.
        participants: P, the largest number of messages that may be summed.

    Raises:
        ClapError: two entries of one name, a negative size, a kind of number without fixed point, or a bound that P
            values could overflow. After that no sum of up to P messages can overflow.
    """

    def __init__(self, entries: Iterable[Entry], participants: int) -> None:
        self.entries = tuple(entries)
        self.participants = participants
        self._points: dict[str, FixedPoint | Lanes] = {}
        for entry in self.entries:
            if entry.name in self._points:
                raise ClapError(f"layout: two entries are called '{entry.name}'")
            if any(size < 0 for size in entry.shape):
                raise ClapError(f"layout: '{entry.name}' has the shape {entry.shape}")
            try:
                self._points[entry.name] = _point(entry, participants)
            except ClapError as error:
                raise ClapError(f"layout: '{entry.name}': {error}") from None

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Length of the uint32 vector, and of the uint64 vector.

        >>> Layout([Entry("update", (2, 3), "float32", 1.0), Entry("count", (), "int64", 10**6)], 5).sizes
        (6, 1)
        """
        lengths = {32: 0, 64: 0}
        for entry in self.entries:
            lengths[self._points[entry.name].width] += self._words(entry)
        return lengths[32], lengths[64]

    def _words(self, entry: Entry) -> int:
        return self._points[entry.name].words(math.prod(entry.shape))

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that differ where names, shapes, kinds, bounds or P differ: for ``Session.context``."""
        parts: list[str | int] = ["layout", self.participants]
        for entry in self.entries:
            bound = self._points[entry.name].bound
            written = str(bound) if isinstance(bound, int) else bound.hex()
            parts += [entry.name, len(entry.shape), *entry.shape, entry.dtype, written]
        return digest(*parts)

    def point(self, name: str) -> FixedPoint | Lanes:
        """How the values of this entry are written in the ring."""
        return self._points[name]

    def encode(self, message: Mapping[str, np.ndarray | int | float], where: str) -> Encoded:
        """A message as two vectors.

        Args:
            message: exactly the entries of the layout, of exactly their shapes and kinds.
            where: what an error begins with, such as ``participant 'camera-01'``.

        Raises:
            ClapError: the message is another one, or holds NaN or infinity.
        """
        if message.keys() != self._points.keys():
            odd = sorted(message.keys() ^ self._points.keys())
            raise ClapError(f"{where}: entries {odd} are missing or not in the layout")
        narrow: list[np.ndarray] = [np.empty(0, np.uint32)]
        wide: list[np.ndarray] = [np.empty(0, np.uint64)]
        clipped = {}
        for entry in self.entries:
            value, point = np.asarray(message[entry.name]), self._points[entry.name]
            if value.shape != entry.shape or value.dtype != np.dtype(entry.dtype):
                raise ClapError(
                    f"{where}: '{entry.name}' is {value.dtype} of shape {value.shape}; {entry.dtype} of shape "
                    f"{entry.shape} is declared"
                )
            try:
                ring, clipped[entry.name] = point.encode(value)
            except ClapError as error:
                raise ClapError(f"{where}: '{entry.name}': {error}") from None
            (narrow if point.width == 32 else wide).append(ring.reshape(-1))
        return Encoded(np.concatenate(narrow), np.concatenate(wide), clipped)

    def decode(self, narrow: np.ndarray, wide: np.ndarray) -> dict[str, np.ndarray | int | float]:
        """The message whose values are the sums in two vectors.

        Args:
            narrow, wide: sums, modulo 2^32 and 2^64, of up to P encoded messages.

        Returns:
            Arrays of float64 (int64 for integers) in the declared shapes, Python numbers for scalars.

        Raises:
            ClapError: the vectors have other lengths or types.
        """
        if (narrow.shape, wide.shape) != tuple((size,) for size in self.sizes):
            raise ClapError(
                f"sums of shapes {narrow.shape} and {wide.shape}, where the layout has {self.sizes} entries"
            )
        message: dict[str, np.ndarray | int | float] = {}
        starts = {32: 0, 64: 0}
        for entry in self.entries:
            point, words = self._points[entry.name], self._words(entry)
            start = starts[point.width]
            starts[point.width] += words
            decoded = point.decode((narrow if point.width == 32 else wide)[start : start + words])
            values = decoded[: math.prod(entry.shape)]
            message[entry.name] = values.reshape(entry.shape) if entry.shape else values[0].item()
        return message


def _point(entry: Entry, participants: int) -> FixedPoint | Lanes:
    if entry.dtype == "int8":
        return Lanes(int(entry.bound), participants)
    return FixedPoint(entry.dtype, entry.bound, participants)
