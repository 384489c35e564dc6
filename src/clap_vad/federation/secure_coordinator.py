"""The coordinator's side of a secure sum of messages: four phases over an engine, one message at the end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..errors import ClapError
from ..protection.coordinator import SecureCoordinator
from ..protection.session import SEALED_BYTES, Session
from .ask import Ask, SecureSum
from .checkpoint import Cohort
from .engine import Engine, TooFewRepliesError
from .messages import Message, message_bytes
from .question import question_digest
from .secure import PHASE_SCHEMAS, PhaseCheck, layout_of, read_sum, session_of

__all__ = ["BrokenSumError", "Summed", "secure_sum"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Summed:
    """What a secure sum gave.

    Attributes:
        message: stands for all members.
        members: whose messages are in it, in their order.
        clipped: values that they clipped to their bounds.
        bytes_up, bytes_down: of all phases.
        impossible: participant -> why something that it sent in a phase cannot be true. Its message may be in the sum.
    """

    message: Message
    members: tuple[str, ...]
    clipped: int
    bytes_up: int
    bytes_down: int
    impossible: Mapping[str, str]


class BrokenSumError(ClapError):
    """A secure sum came to nothing, or to what cannot be true.

    Attributes:
        impossible: participant -> why what it sent cannot be true; empty where nobody can be named.
        again: whether it can help to ask again.
    """

    def __init__(self, text: str, impossible: Mapping[str, str], again: bool = True) -> None:
        super().__init__(text)
        self.impossible, self.again = impossible, again


def secure_sum(
    ask: Ask,
    engine: Engine,
    dim: int,
    cohort: int,
    accepted: Mapping[str, int],
    before: Cohort | None,
    keep: Callable[[Cohort], None],
    out: Collection[str] = (),
) -> Summed:
    """Ask the targets a question and learn the sum of their replies alone.

    Sites may drop out in any phase as long as the threshold, two thirds of the targets, remains; what one sent is in
    the sum if it came through the third phase.

    Args:
        ask: with ``sequence``, ``targets`` and ``deadline`` set; its reply's schema must be summable.
        engine: what carries the messages.
        dim: D.
        cohort: sites that the sum must be over at least.
        accepted: per participant the last question whose answer counted.
        before: what the sum was over when this question was asked before; the targets are its participants.
        keep: called with what the sum is over, before sites are asked for what they will not say of another one.
        out: who is left out of the run, and not asked where the sum has not been opened.

    Raises:
        TooFewRepliesError: nothing of this question has been learnt, and it can be asked again.
        BrokenSumError: the same, because of what somebody sent.
        ClapError: the reply cannot be summed.
    """
    targets = ask.targets or ()
    identity = f"{ask.sequence}-{secrets.token_hex(8)}"
    asked = question_digest(ask).hex()
    secure = SecureSum(identity, "advertise", ask.reply, tuple(targets), ask.total, cohort, asked)
    layout = layout_of(ask.reply, dim, len(targets))
    asking = _Asking(ask, engine, secure, session_of(secure, layout), accepted)
    coordinator = SecureCoordinator(asking.session)
    opened = before.members if before else ()
    there = opened or tuple(name for name in targets if name not in out)
    if len(there) < asking.session.threshold:
        raise BrokenSumError(
            f"step '{ask.step}': its secure sum was begun over {len(targets)} sites, who open no other of the same "
            f"answers, and so many of them are left out that it cannot be opened",
            {},
            again=False,
        )
    keys = asking.phase("advertise", {}, there)
    question = asking.collected(lambda: coordinator.advertised(keys))
    shares = asking.phase("share", question, coordinator.members)
    sealed = asking.collected(lambda: coordinator.shared(shares))
    present = next(iter(sealed.values()))["present"]
    masks = {"secure.present": present, "secure.ciphertexts": _matrix(sealed, targets)}
    if before is None:
        keep(Cohort(tuple(targets)))
    vectors = asking.phase("mask", {**ask.payload, **masks}, coordinator.members)
    question = asking.collected(lambda: coordinator.masked(vectors))
    members = coordinator.members
    if opened and members != opened:
        raise TooFewRepliesError(
            f"step '{ask.step}': its sum was lost as it was opened, and sites open no other of the same answers; "
            f"{', '.join(name for name in opened if name not in members)} must be there"
        )
    keep(Cohort(tuple(targets), members))
    told = asking.phase("unmask", question, members)
    narrow, wide = asking.collected(lambda: coordinator.unmasked(told))
    message, clipped = asking.collected(lambda: read_sum(secure, layout, narrow, wide, len(members)))
    return Summed(message, members, clipped, asking.bytes_up, asking.bytes_down, asking.impossible)


class _Asking:
    """The phases of one sum, as questions.

    Attributes:
        bytes_up, bytes_down: of the phases so far.
        impossible: who sent what cannot be true in one of them, and why.
    """

    def __init__(
        self, ask: Ask, engine: Engine, secure: SecureSum, session: Session, accepted: Mapping[str, int]
    ) -> None:
        self.session = session
        self.bytes_up = self.bytes_down = 0
        self.impossible: dict[str, str] = {}
        self._ask, self._engine, self._secure, self._accepted = ask, engine, secure, accepted

    def phase(
        self, phase: str, question: Mapping[str, object], targets: tuple[str, ...]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Replies by participant, of those whose reply can be true.

        Raises:
            TooFewRepliesError: fewer than the threshold.
            BrokenSumError: the same, and some of them have lied.
        """
        payload: Message = {name: np.asarray(value) for name, value in question.items()}
        wanted = max(self.session.threshold, self._ask.min_replies - len(self.impossible))
        needed = self.session.threshold if phase == "unmask" else wanted
        ask = replace(
            self._ask,
            payload=payload,
            reply=PHASE_SCHEMAS[phase],
            targets=targets,
            secure=replace(self._secure, phase=phase),
            min_replies=needed,
            accepted={name: number for name, number in self._accepted.items() if name in targets},
        )
        replies = self._engine.deliver(ask, PhaseCheck(phase, self.session))
        self.bytes_up += sum(message_bytes(reply.message) for reply in replies)
        self.bytes_down += message_bytes(payload) * len(replies)
        lies = {reply.participant: reply.impossible for reply in replies if reply.impossible}
        replies = [reply for reply in replies if not reply.impossible]
        self.impossible |= lies
        if len(replies) < max(self.session.threshold, needed - len(lies)):
            text = (
                f"step '{self._ask.step}', phase '{phase}' of secure aggregation: {len(replies)} participants replied, "
                f"{needed} are needed"
            )
            raise BrokenSumError(text, self.impossible) if self.impossible else TooFewRepliesError(text)
        return {
            reply.participant: {name: np.asarray(value) for name, value in reply.message.items()} for reply in replies
        }

    def collected(self, collect: Callable[[], _T]) -> _T:
        """What the coordinator's side makes of a phase; raises :class:`BrokenSumError` where that is nothing."""
        try:
            return collect()
        except ClapError as error:
            raise BrokenSumError(f"step '{self._ask.step}', a secure sum: {error}", self.impossible) from None


def _matrix(sealed: Mapping[str, Mapping[str, np.ndarray]], targets: tuple[str, ...]) -> np.ndarray:
    """(n, n, SEALED_BYTES): row by receiver, what the others have sealed for it; zeros for those who dropped out."""
    matrix = np.zeros((len(targets), len(targets), SEALED_BYTES), np.uint8)
    for receiver, question in sealed.items():
        matrix[targets.index(receiver)] = question["ciphertexts"]
    return matrix
