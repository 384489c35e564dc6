"""Messages as bytes in the safetensors format: it holds no code, and its size is known before it is read."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import ClapError
from .ask import Ask, SecureSum
from .messages import Message, schema

__all__ = ["ask_from_wire", "ask_to_wire", "decode", "encode", "most_bytes"]

_MOST_QUESTIONS = 10**8  # a site numbers its states with eight digits
_HEADER = 64 * 1024
"""Bytes for the names, types and shapes of a message's entries."""


def encode(message: Message) -> bytes:
    """A message as bytes; scalars become arrays without dimensions, which keeps every digit."""
    return save({name: np.asarray(value, order="C") for name, value in sorted(message.items())})


def decode(data: bytes, limit: int | None = None) -> Message:
    """The message in these bytes.

    Args:
        data: what :func:`encode` made.
        limit: largest number of bytes; None for no limit.

    Raises:
        ClapError: it is longer, or not a message.

    >>> {name: value.item() for name, value in decode(encode({"count": 3, "loss": 0.5})).items()}
    {'count': 3, 'loss': 0.5}
    """
    if limit is not None and len(data) > limit:
        raise ClapError(f"a message of {len(data)} bytes; at most {limit} are expected; refused unread")
    try:
        return dict(sorted(load(data).items()))  # the format does not keep their order
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ClapError(f"not a readable message ({error})") from None


def most_bytes(name: str, dim: int) -> int:
    """Largest size in bytes of a message of this schema, at D dimensions."""
    return _HEADER + sum(
        np.dtype(field.dtype).itemsize * math.prod(dim if isinstance(size, str) else size for size in field.sizes(dim))
        for field in schema(name).fields.values()
    )


def ask_to_wire(ask: Ask) -> tuple[str, bytes]:
    """A question as a line of JSON and the bytes of its payload. Its targets and deadline stay here."""
    line = {
        "step": ask.step,
        "reply": ask.reply,
        "lasting": ask.lasting,
        "silent": ask.silent,
        "secure": None if ask.secure is None else asdict(ask.secure),
        "sequence": ask.sequence,
        "accepted": dict(ask.accepted),
    }
    return json.dumps(line), encode(ask.payload)


def ask_from_wire(line: str, payload: bytes) -> Ask:
    """The question; raises :class:`ClapError` for anything else.

    >>> ask_from_wire(*ask_to_wire(Ask("label", "segment_count", sequence=3))).sequence
    3
    """
    kinds = {"step": str, "reply": str, "lasting": bool, "silent": bool, "sequence": int, "accepted": dict}
    free = {"secure"}
    try:
        content = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        raise ClapError("not a readable question") from None
    if not isinstance(content, dict) or content.keys() != kinds.keys() | free:
        raise ClapError("not a question of this release")
    if any(type(content[name]) is not kind for name, kind in kinds.items()):
        raise ClapError("a question with entries of wrong types")
    if not 0 <= content["sequence"] < _MOST_QUESTIONS:
        raise ClapError("a question whose number is out of range")
    if any(type(number) is not int for number in content["accepted"].values()):
        raise ClapError("a question whose 'accepted' holds a value that is not a number")
    content["secure"] = _secure_sum(content["secure"])
    return Ask(payload=decode(payload), **content)


def _secure_sum(content: object) -> SecureSum | None:
    if content is None:
        return None
    kinds = {"identity": str, "phase": str, "schema": str, "participants": list, "total": int, "cohort": int}
    kinds["question"] = str
    if not isinstance(content, dict) or content.keys() != kinds.keys():
        raise ClapError("a question of a secure sum that is not one of this release")
    if any(type(content[name]) is not kind for name, kind in kinds.items()):
        raise ClapError("a question of a secure sum with entries of wrong types")
    if not all(isinstance(name, str) for name in content["participants"]) or not 0 <= content["total"] < 2**63:
        raise ClapError("a question of a secure sum with invalid participant names, or a total out of range")
    return SecureSum(**{**content, "participants": tuple(content["participants"])})
