"""Drives the coordinator's side of an algorithm over an engine, and saves it after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from ..errors import ClapError
from .ask import Ask, Reply, State, Steps
from .checkpoint import Checkpoint
from .messages import check_message, message_bytes

__all__ = ["Engine", "coordinate"]


class Engine(Protocol):
    """Carries questions to sites and brings their replies back.

    Attributes:
        participants: ids, in the order in which replies are summed.
    """

    participants: tuple[str, ...]

    def deliver(self, ask: Ask) -> list[Reply]:
        """Ask the targets and return what they replied, in participant order."""


def coordinate(steps: Callable[[State], Steps], engine: Engine, checkpoint: Checkpoint, dim: int) -> State:
    """Run an algorithm to its end, from the checkpoint if there is one.

    Args:
        steps: makes the generator from a state; from a saved state it must go on with the step that comes next.
        engine: what carries the messages.
        checkpoint: where the state is saved before each question.
        dim: D, against which replies are checked.

    Returns:
        The final state. It counts ``sequence`` (questions answered), ``bytes_up`` and ``bytes_down``.
    """
    state = checkpoint.load() or {"sequence": np.array(0), "bytes_up": np.array(0), "bytes_down": np.array(0)}
    generator = steps(state)
    replies: list[Reply] | None = None
    while True:
        try:
            ask = next(generator) if replies is None else generator.send(replies)
        except StopIteration:
            checkpoint.save(state)
            return state
        checkpoint.save(state)
        ask = replace(ask, sequence=int(state["sequence"]))
        replies = engine.deliver(ask)
        targets = engine.participants if ask.targets is None else ask.targets
        if len(replies) < (ask.min_replies or len(targets)):
            raise ClapError(f"step '{ask.step}': {len(replies)} of {len(targets)} participants replied, too few")
        for reply in replies:
            check_message(ask.reply, reply.message, dim, reply.participant)
        state["sequence"] = state["sequence"] + 1
        state["bytes_down"] = state["bytes_down"] + message_bytes(ask.payload) * len(targets)
        state["bytes_up"] = state["bytes_up"] + sum(message_bytes(reply.message) for reply in replies)
