"""The record that passes through the stages on the way out of a site: a question that becomes its reply."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from ..ask import Ask, State
from ..messages import Message
from ..messages import schema as schema_of

__all__ = ["Passage", "Stage"]


@dataclass(frozen=True)
class Passage:
    """A question and its reply as far as it is made.

    Attributes:
        ask: the question.
        declared: schema of the step's answer, also if it is not sent.
        plain: schema of the reply before encoding.
        schema: schema of the reply before masks.
        payload: input of the step.
        state: the site's own state; the step replaces entries of it.
        message: the reply so far.
    """

    ask: Ask
    declared: str = ""
    plain: str = ""
    schema: str = ""
    payload: Message = field(default_factory=dict)
    state: State = field(default_factory=dict)
    message: Message = field(default_factory=dict)

    @property
    def masked(self) -> bool:
        """Whether the reply leaves under masks."""
        return self.ask.secure is not None and self.ask.secure.phase == "mask"

    @property
    def noised(self) -> bool:
        """Whether the reply leaves with noise."""
        return bool(schema_of(self.schema).noised)

    @cached_property
    def sha256(self) -> str:
        """Digest of the reply's names and values, hexadecimal."""
        digest = hashlib.sha256()
        for key in sorted(self.message):
            digest.update(key.encode())
            digest.update(np.asarray(self.message[key]).tobytes())
        return digest.hexdigest()


class Stage(Protocol):
    """One stage: takes a passage and returns the passage for the next stage; if it raises, nothing leaves."""

    def __call__(self, passage: Passage) -> Passage:
        """Do this stage's part."""
