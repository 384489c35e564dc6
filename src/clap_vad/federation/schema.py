"""Schemas: the entries of one kind of message, and the conditions that they fulfil together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core.density.gaussian_mixture import triangle
from ..core.statistics.quantisation import MOST_STEPS

__all__ = ["LARGEST", "Field", "Message", "Possible", "Schema", "Size", "encoded_name", "encoded_schema", "has_twin"]

Message = dict[str, np.ndarray | int | float]

LARGEST = {"float32": 2.0**20, "float64": 1e30, "int64": 2.0**40}
"""Largest value of these types in any message, whatever its field says: far above the values of data and training, and
small enough that sums, squares and products over all participants do not overflow."""

Possible = Callable[[Message, float], str | None]
"""Takes a message within its fields and the largest error of each number (0 without masks); returns None, or why the
numbers are impossible together. Pure; a sum of possible messages is possible too."""


def _anything(message: Message, error: float) -> str | None:
    return None


@dataclass(frozen=True)
class Field:
    """One entry of a message.

    Attributes:
        shape: sizes; the symbol ``"D"`` stands for the feature dimension, ``"DD"`` for the entries of the upper
            triangle of a matrix of D x D, ``"P"`` for the participants of a secure sum, ``"N"`` and ``"W"`` for the
            entries of its vectors. ``()`` is a scalar.
        dtype: ``float32``, ``float64``, ``int8``, ``int64``, ``uint8``, ``uint32`` or ``uint64``.
        low, high: bounds of every value.
        bound: in a secure sum values are clipped to [-bound, bound], so that the sum cannot overflow; a smaller bound
            gives a finer fixed point.
    """

    shape: tuple[int | str, ...]
    dtype: str = "float64"
    low: float = -math.inf
    high: float = math.inf
    bound: float = 2.0**40

    def sizes(self, dim: int) -> tuple[int | str, ...]:
        """The shape for D = ``dim``.

        >>> Field((64, "DD")).sizes(10)
        (64, 55)
        """
        known: dict[int | str, int] = {"D": dim, "DD": triangle(dim)}
        return tuple(known.get(size, size) for size in self.shape)


@dataclass(frozen=True)
class Size:
    """How many items a message is about: its weight among the sites' messages.

    Attributes:
        unit: what is counted, such as ``segments``. A site's first size in a unit, if of ``all`` its items, limits
            its later sizes in the run.
        entries: scaled down with the weight if that is bounded, see :mod:`clap_vad.federation.influence`.
        of: the size of a message.
        all: whether it counts all items of the site, not a part.
    """

    unit: str
    entries: tuple[str, ...]
    of: Callable[[Message], float] = lambda message: float(message["count"])
    all: bool = False


@dataclass(frozen=True)
class Schema:
    """The schema of a kind of message.

    Attributes:
        name: in ledgers and policies.
        fields: every entry, none optional.
        summable: the coordinator needs only the sum over participants, so secure aggregation can hide the parts.
        purpose: why it leaves the site, for its operator.
        mean: the entries, except ``count``, are means over that many segments; sums weight them by shares.
        bare: nothing in it depends on a video, so that it needs no masks.
        noised: a sum over videos of contributions of L2 norm at most 1, to which a site adds noise before it leaves:
            under differential privacy nothing else leaves. ``statistics`` or ``training``: which noise.
        possible: why a message within its fields' bounds is impossible; checked where it leaves a site, where it
            arrives, and for a masked sum.
        size: how many items a message is about; None if it does not say.
        scale: size of the numbers: a root mean square for each of several; None if they cannot be compared.
    """

    name: str
    fields: Mapping[str, Field]
    summable: bool
    purpose: str
    mean: bool = False
    bare: bool = False
    noised: str = ""
    possible: Possible = _anything
    size: Size | None = None
    scale: Callable[[Message], np.ndarray] | None = None


_ENCODED = "_int8"


def encoded_name(name: str) -> str:
    """Name of a schema's twin in 8 bits."""
    return name + _ENCODED


def has_twin(plain: Schema) -> bool:
    """Whether messages of this schema can leave in 8 bits."""
    return not plain.noised and any(field.dtype == "float32" for field in plain.fields.values())


def encoded_schema(plain: Schema) -> Schema:
    """The twin of a schema whose float32 entries are whole steps of 8 bits, see :mod:`clap_vad.federation.encoding`."""

    def twin(field: Field) -> Field:
        return Field(field.shape, "int8", -MOST_STEPS, MOST_STEPS, MOST_STEPS) if field.dtype == "float32" else field

    fields = {name: twin(field) for name, field in plain.fields.items()}
    purpose = f"{plain.purpose}; rounded at random to whole steps of 8 bits"
    return replace(plain, name=encoded_name(plain.name), fields=fields, purpose=purpose)
