"""What passes from stage to stage on the way out of a site: a question that becomes its reply."""

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
    """A question on its way to become a reply.

    Attributes:
        ask: the question.
        declared: schema of what the step answers, also where that stays unsaid.
        plain: schema of the reply before it is encoded.
        schema: schema under which the reply leaves, as it is before any masks.
        payload: what the step is given.
        state: the site's own state; the step replaces entries of it.
        message: the reply, as far as it has come.
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
        """Of the reply's names and values, hexadecimal."""
        digest = hashlib.sha256()
        for key in sorted(self.message):
            digest.update(key.encode())
            digest.update(np.asarray(self.message[key]).tobytes())
        return digest.hexdigest()


class Stage(Protocol):
    """One stage: takes a passage, and gives the next stage what it made of it, or raises, and nothing leaves."""

    def __call__(self, passage: Passage) -> Passage:
        """Do this stage's part."""
