"""Drives the coordinator's side of an algorithm over an engine, and saves it after every step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..protection.session import LEAST_COHORT
from .ask import Ask, Reply, State, Steps
from .checkpoint import Checkpoint
from .encoding import encoded_question, read_replies
from .engine import Engine, Quorum, ReplyCheck, TooFewRepliesError
from .messages import ACKNOWLEDGEMENT, message_bytes, schema
from .secure_coordinator import secure_sum

__all__ = ["ANSWERED", "coordinate"]

ANSWERED = "answered"
"""Entry of the coordinator's state: per participant, in order, whether its reply to the last question was used."""


def coordinate(
    steps: Callable[[State], Steps],
    engine: Engine,
    checkpoint: Checkpoint,
    dim: int,
    quorum: Quorum | None = None,
    secure: bool = False,
    update_encoding: str = "float32",
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
        secure: whether replies come under masks, so that the steps are sent one reply that stands for all sites.
        update_encoding: ``int8`` for updates in 8 bits, which the steps are sent as float32 all the same.

    Returns:
        The final state. It counts ``sequence`` (questions answered), ``bytes_up``, ``bytes_down`` and ``clipped``
        (values that secure sums have clipped), and holds :data:`ANSWERED`.

    Raises:
        TooFewRepliesError: the state is saved; call again to ask again.
    """
    state = checkpoint.load() or {"sequence": np.array(0), "bytes_up": np.array(0), "bytes_down": np.array(0)}
    state.setdefault("dim", np.array(dim))
    state.setdefault("accepted", np.full(len(engine.participants), int(state["sequence"]) - 1))
    state.setdefault("clipped", np.array(0))
    driver = _Driver(engine, checkpoint, state, quorum or Quorum(), secure, update_encoding == "int8")
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
    secure: bool
    encoding: bool

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
        asked = ready
        if self.encoding:
            asked = encoded_question(ready, self.state, len(self.engine.participants) if self.secure else 1)
        replies, answered = self._replies(asked, needed)
        if self.encoding:
            replies = read_replies(ready, asked, replies, self.state)
        self.state["sequence"] = np.array(sequence + 1)
        self.state[ANSWERED] = np.array([name in answered for name in self.engine.participants])
        return replies

    def _replies(self, ask: Ask, needed: int) -> tuple[list[Reply], set[str]]:
        """What the targets replied, and whose replies are in it."""
        targets = ask.targets or ()
        if len(targets) < needed:
            raise _too_few(ask, 0, needed)  # not asked: those that are behind would be left out
        if self.secure and not schema(ask.reply).bare:
            return self._secure_replies(ask)
        replies = self._deliver(ask)
        if len(replies) < needed:
            raise _too_few(ask, len(replies), needed)
        return replies, {reply.participant for reply in replies}

    def _secure_replies(self, ask: Ask) -> tuple[list[Reply], set[str]]:
        """One reply that stands for all, and who is in it."""
        # With noise, the same question has other noise when it is asked again, and may be over others.
        before = None if schema(ask.reply).noised else self.checkpoint.cohort(ask.sequence)
        if before is not None:
            ask = replace(ask, targets=before.participants)
        cohort = max(LEAST_COHORT, min(self.quorum.sites, len(ask.targets or ())))
        keep = partial(self.checkpoint.keep_cohort, ask.sequence)
        summed = secure_sum(ask, self.engine, int(self.state["dim"]), cohort, self._accepted(), before, keep)
        self._count(summed.bytes_down, summed.bytes_up)
        self.state["clipped"] = self.state["clipped"] + summed.clipped
        self._accept(ask.sequence, summed.members)
        return [Reply(", ".join(summed.members), summed.message)], set(summed.members)

    def _catch_up(self, targets: Sequence[str], sequence: int) -> tuple[str, ...]:
        """Ask again what targets have missed; returns those that have nothing left to do."""
        known = min((self._accepted()[name] for name in targets), default=sequence)
        for kept in self.checkpoint.kept(known, sequence):
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
        replies = self.engine.deliver(ask, ReplyCheck(ask.reply, int(self.state["dim"])))
        self._accept(ask.sequence, [reply.participant for reply in replies])
        up = sum(message_bytes(reply.message) for reply in replies)
        self._count(message_bytes(ask.payload) * len(replies), up)
        return replies

    def _count(self, down: int, up: int) -> None:
        self.state["bytes_down"] = self.state["bytes_down"] + down
        self.state["bytes_up"] = self.state["bytes_up"] + up

    def _accept(self, sequence: int, answered: Collection[str]) -> None:
        numbers = [sequence if name in answered else number for name, number in self._accepted().items()]
        self.state["accepted"] = np.array(numbers)

    def _accepted(self) -> dict[str, int]:
        numbers = self.state["accepted"]
        return {name: int(number) for name, number in zip(self.engine.participants, numbers, strict=True)}


def _too_few(ask: Ask, replied: int, needed: int) -> TooFewRepliesError:
    return TooFewRepliesError(f"step '{ask.step}': {replied} participants replied, {needed} are needed")
