"""Messages: named arrays and scalars, each kind with a declared schema that lists all it can hold.

Each message is checked against its schema at the site before it leaves, and again where it arrives. A schema fixes
every shape, so no message can hold an array whose length grows with the number of segments or videos. The schemas are
in ``schemas/``, one file per method; this module collects them and checks messages.
"""

from __future__ import annotations

import numpy as np

from ..errors import ClapError
from .schema import LARGEST, Field, Message, Schema, encoded_name, encoded_schema, has_twin
from .schemas import clap, comet, gcl, shared
from .schemas.comet import RETIRED
from .schemas.shared import ACKNOWLEDGEMENT, DESCRIPTION_BYTES

__all__ = [
    "ACKNOWLEDGEMENT",
    "DESCRIPTION_BYTES",
    "RETIRED",
    "Field",
    "ImpossibleMessageError",
    "Message",
    "Schema",
    "check_message",
    "encoded",
    "encoded_schema",
    "message_bytes",
    "schema",
    "schemas",
]

_FILES = (shared, clap, gcl, comet)
"""A new file of ``schemas/`` is added here, and nowhere else. C2FPL uses the shared schemas."""

_PLAIN = [declared for file in _FILES for declared in file.SCHEMAS]
_SCHEMAS = {declared.name: declared for declared in (*_PLAIN, *(encoded_schema(s) for s in _PLAIN if has_twin(s)))}


def encoded(name: str) -> str | None:
    """Name of a schema's twin in 8 bits; None for one without float32 entries.

    >>> encoded("model_update"), encoded("segment_count")
    ('model_update_int8', None)
    """
    return encoded_name(name) if encoded_name(name) in _SCHEMAS else None


def schema(name: str) -> Schema:
    """The schema of this name; raises :class:`ClapError` for one that is not declared."""
    if name not in _SCHEMAS:
        raise ClapError(f"message schema '{name}' is not declared, so nothing of that kind may leave a site")
    return _SCHEMAS[name]


def schemas() -> list[Schema]:
    """All declared schemas: the complete list of what can leave a site."""
    return list(_SCHEMAS.values())


class ImpossibleMessageError(ClapError):
    """A message with impossible values: its schema does not allow them. It is not used, and its sender is named."""


def check_message(name: str, message: Message, dim: int, sender: str) -> None:
    """Raise :class:`ImpossibleMessageError` unless the message is exactly what its schema allows.

    Args:
        name: schema name.
        message: the message.
        dim: D of this federation.
        sender: its participant, for the error.

    >>> check_message("segment_count", {"count": 3}, dim=8, sender="camera-01")
    >>> check_message("segment_count", {"count": -1}, dim=8, sender="camera-01")
    Traceback (most recent call last):
    clap_vad.federation.messages.ImpossibleMessageError: participant 'camera-01', message 'segment_count': 'count' is \
outside [0, 1.09951e+12]
    """
    declared, where = schema(name), f"participant '{sender}', message '{name}'"
    if declared.fields.keys() != message.keys():
        odd = sorted(declared.fields.keys() ^ message.keys())
        raise ImpossibleMessageError(f"{where}: entries {odd} are missing or not declared")
    for key, field in declared.fields.items():
        if wrong := _wrong(np.asarray(message[key]), field, dim):
            raise ImpossibleMessageError(f"{where}: '{key}' {wrong}")
    if (reason := declared.possible(message, 0.0)) is not None:
        raise ImpossibleMessageError(f"{where}: impossible values: {reason}")


def _wrong(value: np.ndarray, field: Field, dim: int) -> str:
    """What is wrong with an entry; empty if it is as declared."""
    expected = field.sizes(dim)
    if value.shape != expected:
        return f"has shape {value.shape}; {expected} is declared"
    if value.dtype != np.dtype(field.dtype):
        return f"is {value.dtype}; {field.dtype} is declared"
    if not np.isfinite(value).all():
        return "holds NaN or infinity; look at this participant's features, or lower --lr"
    most = LARGEST.get(field.dtype, np.inf)
    low, high = max(field.low, -most), min(field.high, most)
    return f"is outside [{low:g}, {high:g}]" if value.size and (value.min() < low or value.max() > high) else ""


def message_bytes(message: Message) -> int:
    """Bytes of a message's values: arrays as they are, 8 for a scalar."""
    return sum(np.asarray(value).nbytes for value in message.values())
