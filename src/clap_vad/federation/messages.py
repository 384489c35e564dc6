"""Messages: named arrays and scalars, each kind with a declared schema that says all it can hold.

Whatever leaves a site is checked against its schema at the site, and again where it arrives. A schema fixes every
shape, so no message can hold an array whose length grows with the number of segments or videos. The schemas lie in
``schemas/``, a family per file; here is where they are found and held against messages.
"""

from __future__ import annotations

import numpy as np

from ..errors import ClapError
from .schema import Field, Message, Schema, encoded_name, encoded_schema, has_twin
from .schemas import comet, general, histograms, private, secure, statistics, updates
from .schemas.general import ACKNOWLEDGEMENT, DESCRIPTION_BYTES

__all__ = [
    "ACKNOWLEDGEMENT",
    "DESCRIPTION_BYTES",
    "Field",
    "Message",
    "Schema",
    "check_message",
    "encoded",
    "encoded_schema",
    "message_bytes",
    "schema",
    "schemas",
]

_FAMILIES = (general, statistics, comet, updates, histograms, private, secure)
"""A new file of ``schemas/`` is added here, and nowhere else."""

_PLAIN = [declared for family in _FAMILIES for declared in family.SCHEMAS]
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


def check_message(name: str, message: Message, dim: int, sender: str) -> None:
    """Raise :class:`ClapError` unless the message is exactly what its schema allows.

    Args:
        name: schema name.
        message: the message.
        dim: D of this federation.
        sender: who made it, for the error.

    >>> check_message("segment_count", {"count": 3}, dim=8, sender="camera-01")
    >>> check_message("segment_count", {"count": -1}, dim=8, sender="camera-01")
    Traceback (most recent call last):
    clap_vad.errors.ClapError: participant 'camera-01', message 'segment_count': 'count' is outside [0, inf]
    """
    fields, where = schema(name).fields, f"participant '{sender}', message '{name}'"
    if fields.keys() != message.keys():
        odd = sorted(fields.keys() ^ message.keys())
        raise ClapError(f"{where}: entries {odd} are missing or not declared")
    for key, field in fields.items():
        value = np.asarray(message[key])
        expected = field.sizes(dim)
        if value.shape != expected:
            raise ClapError(f"{where}: '{key}' has shape {value.shape}; {expected} is declared")
        if value.dtype != np.dtype(field.dtype):
            raise ClapError(f"{where}: '{key}' is {value.dtype}; {field.dtype} is declared")
        if not np.isfinite(value).all():
            raise ClapError(
                f"{where}: '{key}' holds NaN or infinity; look at this participant's features, or lower --lr"
            )
        if value.size and (value.min() < field.low or value.max() > field.high):
            raise ClapError(f"{where}: '{key}' is outside [{field.low:g}, {field.high:g}]")


def message_bytes(message: Message) -> int:
    """Bytes of a message's values: arrays as they are, 8 for a scalar."""
    return sum(np.asarray(value).nbytes for value in message.values())
