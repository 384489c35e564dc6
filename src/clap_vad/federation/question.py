"""A question as a digest of 32 bytes, to compare questions."""

from __future__ import annotations

import numpy as np

from ..protection.packing import digest
from .ask import Ask

__all__ = ["BESIDE", "question_digest"]

BESIDE = "secure."
"""Entries of a question that belong to the masks: new for each sum, and different for each site."""


def question_digest(ask: Ask) -> bytes:
    """Digest (32 bytes) of a question: its number, its step, the schema of the answer and all of its payload.

    >>> question_digest(Ask("train", "model_update", {"round": 1})) == question_digest(Ask("train", "model_update"))
    False
    """
    parts: list[str | bytes | int] = [ask.sequence, ask.step, ask.reply if ask.secure is None else ask.secure.schema]
    for name in sorted(ask.payload):
        if not name.startswith(BESIDE):
            value = np.asarray(ask.payload[name], order="C")
            parts += [name, value.dtype.str, str(value.shape), value.tobytes()]
    return digest("clap-vad question 1", *parts)
