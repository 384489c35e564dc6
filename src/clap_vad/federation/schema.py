"""What a schema is: the entries that a message of one kind has, and what is true of all of them."""

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
"""No value of these types is larger in any message, whatever its field says: no data and no training comes near, and
sums, squares and products of such values over all participants overflow nowhere."""

Possible = Callable[[Message, float], str | None]
"""Of a message within its fields, and how far each of its numbers may be from the true one (0 but under masks): None,
or why its numbers cannot be true together, in words. Pure, and true of the sum of messages where it is of each."""


def _anything(message: Message, error: float) -> str | None:
    return None


@dataclass(frozen=True)
class Field:
    """One entry of a message.

    Attributes:
        shape: sizes; the symbol ``"D"`` stands for the feature dimension, ``"DD"`` for the entries of the upper
            triangle of a matrix of D x D, ``"P"`` for the participants of a secure sum, ``"N"`` and ``"W"`` for the
            entries of the vectors it sums. ``()`` is a scalar.
        dtype: ``float32``, ``float64``, ``int8``, ``int64``, ``uint8``, ``uint32`` or ``uint64``.
        low, high: bounds of every value.
        bound: in a secure sum values are clipped to [-bound, bound]. One that holds for every message makes an
            overflow of the sum impossible; the smaller it is, the finer the fixed point.
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
    """How many things a message is about: its weight beside other sites' messages.

    Attributes:
        unit: what is counted, such as ``segments``. A site's first size in a unit that it has ``all`` of is the most
            that it can tell later in the run.
        entries: what is made smaller with the weight where that is cut, see :mod:`clap_vad.federation.influence`.
        of: the size of a message.
        all: whether it is of all that the site has, not of some of it.
    """

    unit: str
    entries: tuple[str, ...]
    of: Callable[[Message], float] = lambda message: float(message["count"])
    all: bool = False


@dataclass(frozen=True)
class Schema:
    """What a message may hold.

    Attributes:
        name: as it stands in the ledger and in a site's policy.
        fields: every entry, none optional.
        summable: the coordinator needs only the sum over participants, so secure aggregation can hide the parts.
        purpose: why it leaves the site, in words for its operator.
        mean: the entries, but for ``count``, are means over so many segments; their sum is one of shares.
        bare: holds nothing that depends on any video, so that it may stay as it is under secure aggregation.
        noised: a sum over videos of contributions of L2 norm at most 1, to which a site adds noise before it leaves:
            under differential privacy nothing else does. ``statistics`` or ``training`` says whose noise.
        possible: why a message cannot be true though each field is within its bounds; looked at where it leaves a site
            and where it arrives, and of a masked sum.
        size: how many things a message is about; None where that is no part of it.
        scale: how large the things are: a root mean square for each of several numbers; None where that says nothing.
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
