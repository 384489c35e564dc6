"""Layout of a message's entries in the two vectors that are summed."""

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
        name: key in the message.
        shape: sizes; ``()`` is a scalar.
        dtype: ``float32`` uses the 32-bit ring, ``int8`` 16-bit lanes in it, ``float64`` and ``int64`` the 64-bit ring.
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
        clipped: number of clipped values per entry.
    """

    narrow: np.ndarray
    wide: np.ndarray
    clipped: Mapping[str, int]


class Layout:
    """An ordered description of messages to be summed.

    Args:
        entries: the entries, in the order of the vectors.
        participants: P, the largest number of messages that may be summed.

    Raises:
        ClapError: two entries with one name, a negative size, a kind of number without fixed-point encoding, or a bound
            with which P values could overflow. No sum of up to P messages can then overflow.
    """

    def __init__(self, entries: Iterable[Entry], participants: int) -> None:
        self.entries = tuple(entries)
        self.participants = participants
        self._points: dict[str, FixedPoint | Lanes] = {}
        for entry in self.entries:
            if entry.name in self._points:
                raise ClapError(f"layout: two entries have the name '{entry.name}'")
            if any(size < 0 for size in entry.shape):
                raise ClapError(f"layout: '{entry.name}' has the shape {entry.shape}")
            try:
                self._points[entry.name] = _point(entry, participants)
            except ClapError as error:
                raise ClapError(f"layout: '{entry.name}': {error}") from None

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Lengths of the uint32 vector and of the uint64 vector.

         Layout([Entry("update", (2, 3), "float32", 1.0), Entry("count", (), "int64", 10**6)], 5).sizes
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
        """32 bytes that depend on names, shapes, types, bounds and P; used as ``Session.context``."""
        parts: list[str | int] = ["layout", self.participants]
        for entry in self.entries:
            bound = self._points[entry.name].bound
            written = str(bound) if isinstance(bound, int) else bound.hex()
            parts += [entry.name, len(entry.shape), *entry.shape, entry.dtype, written]
        return digest(*parts)

    def point(self, name: str) -> FixedPoint | Lanes:
        """Encoding of the values of this entry."""
        return self._points[name]

    def encode(self, message: Mapping[str, np.ndarray | int | float], where: str) -> Encoded:
        """A message as two vectors.

        Args:
            message: exactly the entries of the layout, with exactly their shapes and types.
            where: start of an error message, such as ``participant 'camera-01'``.

        Raises:
            ClapError: the message does not match the layout, or contains NaN or infinity.
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
        """The message for the sums in two vectors.

        Args:
            narrow, wide: sums, modulo 2^32 and 2^64, of up to P encoded messages.

        Returns:
            Arrays of float64 (int64 for integers) in the declared shapes, Python numbers for scalars.

        Raises:
            ClapError: the vectors have other lengths or types.
        """
        if (narrow.shape, wide.shape) != tuple((size,) for size in self.sizes):
            raise ClapError(
                f"sums have shapes {narrow.shape} and {wide.shape}, but the layout has {self.sizes} entries"
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
