"""Drives the coordinator's side of an algorithm over an engine, and saves it after every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import ClapError
from .ask import Ask, Reply, State, Steps
from .checkpoint import Checkpoint
from .messages import ACKNOWLEDGEMENT, Message, check_message, message_bytes
from .wire import most_bytes

__all__ = ["ANSWERED", "Check", "Engine", "Quorum", "TooFewRepliesError", "coordinate"]

ANSWERED = "answered"
"""Entry of the coordinator's state: per participant, in order, whether its reply to the last question was used."""


@dataclass(frozen=True)
class Check:
    """What a reply must be to be used: as its schema says, at D dimensions."""

    schema: str
    dim: int

    @property
    def most_bytes(self) -> int:
        """Bytes that it can have at most on the wire."""
        return most_bytes(self.schema, self.dim)

    def __call__(self, participant: str, message: Message) -> None:
        """Raise :class:`ClapError` for a reply that cannot be used."""
        check_message(self.schema, message, self.dim, participant)


class Engine(Protocol):
    """Carries questions to sites and brings their replies back.

    Attributes:
        participants: ids, in the order in which replies are summed.
    """

    participants: tuple[str, ...]

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        """Ask the targets and return what they replied, in participant order.

        An engine whose sites may fail returns when all that are there have replied or the question's deadline has
        passed, and leaves out replies that ``check`` refuses; with fewer than ``min_replies`` it waits for the
        deadline.
        """


@dataclass(frozen=True)
class Quorum:
    """How much of a federation a step needs.

    Attributes:
        sites: replies a step needs at least; 0 means all targets.
        deadline: seconds that a step waits for sites at most; 0 means without limit.
    """

    sites: int = 0
    deadline: float = 0.0


class TooFewRepliesError(ClapError):
    """A step did not get the replies it needs; it can be asked again when more sites are there."""


def coordinate(
    steps: Callable[[State], Steps], engine: Engine, checkpoint: Checkpoint, dim: int, quorum: Quorum | None = None
) -> State:
    """Run an algorithm to its end, from the checkpoint if there is one.

    A participant that missed a lasting question is asked it again, without a reply but an acknowledgement, before it
    is asked anything else; while it has not done so it takes no part.

    Args:
        steps: makes the generator from a state; from a saved state it must go on with the step that comes next.
        engine: what carries the messages.
        checkpoint: where the state is saved before each question.
        dim: D, against which replies are checked; steps that learn it from the sites set ``state["dim"]``.
        quorum: how many replies a step needs, and how long it waits, where the question itself does not say.

    Returns:
        The final state. It counts ``sequence`` (questions answered), ``bytes_up`` and ``bytes_down``, and
        holds :data:`ANSWERED`.

    Raises:
        TooFewRepliesError: the state is saved; call again to ask again.
    """
    state = checkpoint.load() or {"sequence": np.array(0), "bytes_up": np.array(0), "bytes_down": np.array(0)}
    state.setdefault("dim", np.array(dim))
    state.setdefault("accepted", np.full(len(engine.participants), int(state["sequence"]) - 1))
    driver = _Driver(engine, checkpoint, state, quorum or Quorum())
    generator = steps(state)
    replies: list[Reply] | None = None
    while True:
        try:
            ask = next(generator) if replies is None else generator.send(replies)
        except StopIteration:
            checkpoint.save(state)
            return state
        checkpoint.save(state)
        replies = driver.ask(ask)


@dataclass(frozen=True)
class _Driver:
    engine: Engine
    checkpoint: Checkpoint
    state: State
    quorum: Quorum

    def ask(self, ask: Ask) -> list[Reply]:
        """One question of the algorithm, after whatever some of its targets missed before."""
        if ask.lasting and ask.targets is not None:
            raise ValueError(f"step '{ask.step}': a lasting question is for all participants")
        sequence = int(self.state["sequence"])
        targets = self.engine.participants if ask.targets is None else ask.targets
        needed = ask.min_replies or min(self.quorum.sites, len(targets)) or len(targets)
        able = self._catch_up(targets, sequence)
        if ask.lasting:
            self.checkpoint.keep(replace(ask, sequence=sequence))
        deadline = ask.deadline or self.quorum.deadline
        ready = replace(ask, sequence=sequence, targets=able, min_replies=needed, deadline=deadline)
        replies = self._deliver(ready) if len(able) >= needed else []
        if len(replies) < needed:
            raise TooFewRepliesError(
                f"step '{ask.step}': {len(replies)} of {len(targets)} participants replied, too few"
            )
        self.state["sequence"] = np.array(sequence + 1)
        answered = {reply.participant for reply in replies}
        self.state[ANSWERED] = np.array([name in answered for name in self.engine.participants])
        return replies

    def _catch_up(self, targets: Sequence[str], sequence: int) -> tuple[str, ...]:
        """Ask again what targets have missed; returns those that have nothing left to do."""
        for kept in self.checkpoint.kept(sequence):
            behind = tuple(name for name in targets if self._accepted()[name] < kept.sequence)
            if behind:
                self._deliver(
                    replace(kept, reply=ACKNOWLEDGEMENT, silent=True, targets=behind, deadline=self.quorum.deadline)
                )
                # Saved before the next question tells a site of it: the site then forgets what came before.
                self.checkpoint.save(self.state)
                targets = [name for name in targets if self._accepted()[name] >= kept.sequence]
        return tuple(targets)

    def _deliver(self, ask: Ask) -> list[Reply]:
        targets = ask.targets or ()
        ask = replace(ask, accepted={name: number for name, number in self._accepted().items() if name in targets})
        replies = self.engine.deliver(ask, Check(ask.reply, int(self.state["dim"])))
        answered = {reply.participant for reply in replies}
        numbers = [ask.sequence if name in answered else number for name, number in self._accepted().items()]
        self.state["accepted"] = np.array(numbers)
        self.state["bytes_down"] = self.state["bytes_down"] + message_bytes(ask.payload) * len(replies)
        self.state["bytes_up"] = self.state["bytes_up"] + sum(message_bytes(reply.message) for reply in replies)
        return replies

    def _accepted(self) -> dict[str, int]:
        numbers = self.state["accepted"]
        return {name: int(number) for name, number in zip(self.engine.participants, numbers, strict=True)}
