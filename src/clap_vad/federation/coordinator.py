"""Runs the coordinator's side of an algorithm over an engine, and saves it after every step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..errors import ClapError
from ..protection.session import LEAST_COHORT
from .ask import Ask, Reply, State, Steps
from .checkpoint import Checkpoint
from .encoding import encoded_question, keep_scale, read_replies
from .engine import Engine, Quorum, ReplyCheck, TooFewRepliesError
from .influence import beyond_first, bounded_shares, keep_first, outlying
from .left_out import leave_out, left_out
from .messages import ACKNOWLEDGEMENT, message_bytes, schema
from .secure_coordinator import BrokenSumError, Summed, secure_sum

__all__ = ["ANSWERED", "coordinate"]

ANSWERED = "answered"
"""Entry of the coordinator's state: per participant, in order, whether its reply to the last question was used."""

_BROKEN_SUMS = 3
"""How often a sum that the run needs is asked for before the run stops."""


def coordinate(
    steps: Callable[[State], Steps],
    engine: Engine,
    checkpoint: Checkpoint,
    dim: int,
    quorum: Quorum | None = None,
    secure: bool = False,
    update_encoding: str = "float32",
    on_left_out: Callable[[str, str], None] = lambda participant, why: None,
) -> State:
    """Run an algorithm to its end, from the checkpoint if there is one.

    A participant that missed a lasting question is asked it again, for an acknowledgement only, before any other
    question; until then it takes no part.

    A participant that sends impossible values is left out of the rest of the run, and the run goes on with the others;
    see :mod:`clap_vad.federation.left_out`. Possible but large values are bounded, see
    :mod:`clap_vad.federation.influence`.

    Args:
        steps: makes the generator from a state; from a saved state it must go on with the next step.
        engine: what carries the messages.
        checkpoint: where the state is saved before each question.
        dim: D, against which replies are checked; steps that learn it from the sites set ``state["dim"]``.
        quorum: how many replies a step needs and how long it waits, unless the question states it.
        secure: whether replies are masked; the steps are then sent one reply that stands for all sites.
        update_encoding: ``int8`` for updates in 8 bits; the steps are still sent float32.
        on_left_out: called with a participant that is left out, and why.

    Returns:
        The final state. It counts ``sequence`` (questions answered), ``bytes_up``, ``bytes_down`` and ``clipped``
        (values that secure sums have clipped), and holds :data:`ANSWERED`.

    Raises:
        TooFewRepliesError: the state is saved; call again to ask again.
        ClapError: so many are left out that none remains to ask, or too few for a masked sum.
    """
    state = checkpoint.load() or {"sequence": np.array(0), "bytes_up": np.array(0), "bytes_down": np.array(0)}
    state.setdefault("dim", np.array(dim))
    state.setdefault("accepted", np.full(len(engine.participants), int(state["sequence"]) - 1))
    state.setdefault("clipped", np.array(0))
    driver = _Driver(engine, checkpoint, state, quorum or Quorum(), secure, update_encoding == "int8", on_left_out)
    generator = steps(state)
    replies: list[Reply] | None = None
    known = left_out(state)
    while True:
        try:
            ask = next(generator) if replies is None else generator.send(replies)
        except StopIteration:
            ask = None
        checkpoint.save(state)
        for name, why in left_out(state).items():
            if name not in known:  # left out by the algorithm's steps, for impossible sums
                on_left_out(name, why)
        if ask is None:
            return state
        replies = driver.ask(ask)
        known = left_out(state)


@dataclass(frozen=True)
class _Driver:
    engine: Engine
    checkpoint: Checkpoint
    state: State
    quorum: Quorum
    secure: bool
    encoding: bool
    on_left_out: Callable[[str, str], None]

    def ask(self, ask: Ask) -> list[Reply]:
        """Ask one question of the algorithm, after the lasting questions that its targets missed."""
        if ask.lasting and ask.targets is not None:
            raise ValueError(f"step '{ask.step}': a lasting question is for all participants")
        sequence, broken = int(self.state["sequence"]), 0
        masked = self.secure and not schema(ask.reply).bare
        while True:
            targets = self._targets(ask, LEAST_COHORT if masked else 1)
            needed = self._needed(ask, targets)
            able = self._catch_up(targets, sequence)
            if not left_out(self.state).keys().isdisjoint(targets):
                continue
            if ask.lasting:
                self.checkpoint.keep(replace(ask, sequence=sequence))
            deadline = ask.deadline or self.quorum.deadline
            ready = replace(ask, sequence=sequence, targets=able, min_replies=needed, deadline=deadline)
            if len(able) < needed:
                raise _too_few(ask, 0, needed)  # not asked: participants that are behind would be skipped
            try:
                replies, answered = self._masked(ready) if masked else self._open(ready)
            except BrokenSumError as error:
                self._leave_out(error.impossible)
                broken += not error.impossible
                if ask.optional and not error.impossible:
                    replies, answered = [], set()
                    break
                if not error.again:
                    raise ClapError(f"{error}; {self._reasons()}") from None
                if broken == _BROKEN_SUMS:
                    raise ClapError(f"{error}; asked for {broken} times, the cause is unknown") from None
                continue
            if replies:
                break
        self.state["sequence"] = np.array(sequence + 1)
        self.state[ANSWERED] = np.array([name in answered for name in self.engine.participants])
        return replies

    def _targets(self, ask: Ask, least: int) -> tuple[str, ...]:
        """The participants to ask: the question's targets without those left out, replaced by others if needed."""
        targets = tuple(self.engine.participants if ask.targets is None else ask.targets)
        if not (out := left_out(self.state)):
            return targets
        left = [name for name in self.engine.participants if name not in out]
        if len(left) < least:
            raise ClapError(
                f"step '{ask.step}': {len(left)} participants are left to ask and {least} are needed; the others "
                f"are left out for impossible values ({self._reasons()})"
            )
        chosen = {name for name in targets if name in left}
        chosen |= set([name for name in left if name not in chosen][: max(least - len(chosen), 0)])
        return tuple(name for name in left if name in chosen)

    def _reasons(self) -> str:
        return "; ".join(f"'{name}': {why}" for name, why in left_out(self.state).items())

    def _needed(self, ask: Ask, targets: Sequence[str]) -> int:
        """Replies that the question needs, not counting participants that are left out."""
        needed = ask.min_replies or min(self.quorum.sites, len(targets)) or len(targets)
        return min(needed, len(targets)) if left_out(self.state) else needed

    def _open(self, ready: Ask) -> tuple[list[Reply], set[str]]:
        """The targets' replies as float32, and whose are used; empty if all of them are impossible."""
        asked = encoded_question(ready, self.state, 1) if self.encoding else ready
        replies = self._deliver(asked, ready)
        wanted = min(ready.min_replies, sum(name not in left_out(self.state) for name in ready.targets or ()))
        if len(replies) < wanted:
            raise _too_few(ready, len(replies), wanted)
        if self.encoding and replies:
            keep_scale(ready, replies, self.state)
        return replies, {reply.participant for reply in replies}

    def _masked(self, ready: Ask) -> tuple[list[Reply], set[str]]:
        """One reply that stands for all, and the participants in it."""
        asked = encoded_question(ready, self.state, len(self.engine.participants)) if self.encoding else ready
        # With noise, a repeated question has new noise, and its sum may be over other sites.
        before = None if schema(ready.reply).noised else self.checkpoint.cohort(ready.sequence)
        if before is not None:
            asked = replace(asked, targets=before.participants)
        cohort = max(LEAST_COHORT, min(self.quorum.sites, len(asked.targets or ())))
        keep = partial(self.checkpoint.keep_cohort, ready.sequence)
        dim, out = int(self.state["dim"]), left_out(self.state).keys()
        summed: Summed = secure_sum(asked, self.engine, dim, cohort, self._accepted(), before, keep, out)
        self._count(summed.bytes_down, summed.bytes_up)
        self.state["clipped"] = self.state["clipped"] + summed.clipped
        self._leave_out(summed.impossible)
        self._accept(ready.sequence, summed.members)
        replies = [Reply(", ".join(summed.members), summed.message)]
        if self.encoding:
            replies = read_replies(ready, asked, replies, self.state)
            keep_scale(ready, replies, self.state)
        return replies, set(summed.members)

    def _catch_up(self, targets: Sequence[str], sequence: int) -> tuple[str, ...]:
        """Ask targets again the questions that they missed; returns those that are up to date."""
        known = min((self._accepted()[name] for name in targets), default=sequence)
        for kept in self.checkpoint.kept(known, sequence):
            behind = tuple(name for name in targets if self._accepted()[name] < kept.sequence)
            if behind:
                late = replace(kept, reply=ACKNOWLEDGEMENT, silent=True, targets=behind, deadline=self.quorum.deadline)
                self._deliver(late, late)
                # Saved before the next question reports it to a site, which then deletes its older state.
                self.checkpoint.save(self.state)
                targets = [name for name in targets if self._accepted()[name] >= kept.sequence]
        return tuple(targets)

    def _deliver(self, asked: Ask, ready: Ask) -> list[Reply]:
        """The targets' replies to ``asked``, in the form of ``ready``; without those that are left out for them."""
        targets = asked.targets or ()
        asked = replace(asked, accepted={name: number for name, number in self._accepted().items() if name in targets})
        came = self.engine.deliver(asked, ReplyCheck(asked.reply, int(self.state["dim"])))
        self._count(message_bytes(asked.payload) * len(came), sum(message_bytes(reply.message) for reply in came))
        self._leave_out({reply.participant: reply.impossible for reply in came if reply.impossible})
        declared, participants = schema(ready.reply), self.engine.participants
        self._leave_out(beyond_first(declared, self._trusted(came), self.state, participants))
        replies = read_replies(ready, asked, self._trusted(came), self.state)
        self._leave_out(outlying(declared, replies))
        replies = self._trusted(replies)
        keep_first(declared, replies, self.state, participants)
        self._accept(asked.sequence, [reply.participant for reply in replies])
        return bounded_shares(declared, replies)

    def _trusted(self, replies: Sequence[Reply]) -> list[Reply]:
        out = left_out(self.state)
        return [reply for reply in replies if reply.participant not in out]

    def _leave_out(self, found: Mapping[str, str]) -> None:
        """Leave these out of the rest of the run, and save that at once: a kill must not bring them back.

        It is added to the last saved state, since the present state may be in the middle of a question.
        """
        new = {name: why.removeprefix(f"participant '{name}', ") for name, why in found.items()}
        new = {name: why for name, why in new.items() if name not in left_out(self.state)}
        if new:
            leave_out(self.state, new)
            saved = self.checkpoint.load()
            leave_out(saved, new)
            self.checkpoint.save(saved)
            for name, why in new.items():
                self.on_left_out(name, why)

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
