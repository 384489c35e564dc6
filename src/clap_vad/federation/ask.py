"""What the coordinator's side of an algorithm says to an engine: ask the sites something, wait for their replies."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from .messages import Message

__all__ = ["Ask", "Reply", "State", "Steps"]


@dataclass(frozen=True)
class Ask:
    """One question to the sites.

    Attributes:
        step: which of the site's steps is to run.
        payload: arrays and scalars that go down to the sites.
        reply: name of the schema that replies must have.
        min_replies: fewer replies than this fail the step; 0 means all targets.
        deadline: seconds to wait for stragglers; 0 means without limit.
        targets: participants asked; None means all.
        sequence: running number of this question in the run, given by the driver. A site that is asked the same
            number twice (its coordinator was restarted) starts from the state it had before that number.
    """

    step: str
    reply: str
    payload: Message = field(default_factory=dict)
    min_replies: int = 0
    deadline: float = 0.0
    targets: tuple[str, ...] | None = None
    sequence: int = 0


@dataclass(frozen=True)
class Reply:
    """One participant's answer."""

    participant: str
    message: Message


State = dict[str, np.ndarray]
"""All that a coordinator or a site remembers between steps; saved after every step, arrays only."""

Steps = Generator[Ask, list[Reply], None]
"""The coordinator's side of an algorithm: yields questions, is sent the replies, never meets an engine."""
