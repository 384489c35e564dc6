"""The coordinator's side of a secure sum of messages: four phases over an engine, one message at the end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..protection.coordinator import SecureCoordinator
from ..protection.session import SEALED_BYTES, Session
from .ask import Ask, Reply, SecureSum
from .checkpoint import Cohort
from .engine import Engine, TooFewRepliesError
from .messages import Message, message_bytes
from .question import question_digest
from .secure import PHASE_SCHEMAS, PhaseCheck, layout_of, read_sum, session_of

__all__ = ["Summed", "secure_sum"]


@dataclass(frozen=True)
class Summed:
    """What a secure sum gave.

    Attributes:
        message: stands for all members.
        members: whose messages are in it, in their order.
        clipped: values that they clipped to their bounds.
        bytes_up, bytes_down: of all phases.
    """

    message: Message
    members: tuple[str, ...]
    clipped: int
    bytes_up: int
    bytes_down: int


def secure_sum(
    ask: Ask,
    engine: Engine,
    dim: int,
    cohort: int,
    accepted: Mapping[str, int],
    before: Cohort | None,
    keep: Callable[[Cohort], None],
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

    Raises:
        TooFewRepliesError: nothing of this question has been learnt, and it can be asked again.
        ClapError: the reply cannot be summed, or a participant's part in the protocol is not what it must be.
    """
    targets = ask.targets or ()
    identity = f"{ask.sequence}-{secrets.token_hex(8)}"
    asked = question_digest(ask).hex()
    secure = SecureSum(identity, "advertise", ask.reply, tuple(targets), ask.total, cohort, asked)
    layout = layout_of(ask.reply, dim, len(targets))
    asking = _Asking(ask, engine, secure, session_of(secure, layout), accepted)
    coordinator = SecureCoordinator(asking.session)
    opened = before.members if before else ()
    question = coordinator.advertised(asking.phase("advertise", {}, opened or coordinator.members))
    sealed = coordinator.shared(asking.phase("share", question, coordinator.members))
    present = next(iter(sealed.values()))["present"]
    masks = {"secure.present": present, "secure.ciphertexts": _matrix(sealed, targets)}
    if before is None:
        keep(Cohort(tuple(targets)))
    question = coordinator.masked(asking.phase("mask", {**ask.payload, **masks}, coordinator.members))
    members = coordinator.members
    if opened and members != opened:
        raise TooFewRepliesError(
            f"step '{ask.step}': its sum was lost as it was opened, and sites open no other of the same answers; "
            f"{', '.join(name for name in opened if name not in members)} must be there"
        )
    keep(Cohort(tuple(targets), members))
    narrow, wide = coordinator.unmasked(asking.phase("unmask", question, members))
    message, clipped = read_sum(secure, layout, narrow, wide)
    return Summed(message, members, clipped, asking.bytes_up, asking.bytes_down)


class _Asking:
    """The phases of one sum, as questions."""

    def __init__(
        self, ask: Ask, engine: Engine, secure: SecureSum, session: Session, accepted: Mapping[str, int]
    ) -> None:
        self.session = session
        self.bytes_up = self.bytes_down = 0
        self._ask, self._engine, self._secure, self._accepted = ask, engine, secure, accepted

    def phase(
        self, phase: str, question: Mapping[str, object], targets: tuple[str, ...]
    ) -> dict[str, dict[str, np.ndarray]]:
        """Replies by participant; raises :class:`TooFewRepliesError` for fewer than the threshold."""
        payload: Message = {name: np.asarray(value) for name, value in question.items()}
        needed = self.session.threshold if phase == "unmask" else max(self.session.threshold, self._ask.min_replies)
        ask = replace(
            self._ask,
            payload=payload,
            reply=PHASE_SCHEMAS[phase],
            targets=targets,
            secure=replace(self._secure, phase=phase),
            min_replies=needed,
            accepted={name: number for name, number in self._accepted.items() if name in targets},
        )
        replies: list[Reply] = self._engine.deliver(ask, PhaseCheck(phase, self.session))
        self.bytes_up += sum(message_bytes(reply.message) for reply in replies)
        self.bytes_down += message_bytes(payload) * len(replies)
        if len(replies) < needed:
            raise TooFewRepliesError(
                f"step '{self._ask.step}', phase '{phase}' of secure aggregation: {len(replies)} participants replied, "
                f"{needed} are needed"
            )
        return {
            reply.participant: {name: np.asarray(value) for name, value in reply.message.items()} for reply in replies
        }


def _matrix(sealed: Mapping[str, Mapping[str, np.ndarray]], targets: tuple[str, ...]) -> np.ndarray:
    """(n, n, SEALED_BYTES): row by receiver, what the others have sealed for it; zeros for those who dropped out."""
    matrix = np.zeros((len(targets), len(targets), SEALED_BYTES), np.uint8)
    for receiver, question in sealed.items():
        matrix[targets.index(receiver)] = question["ciphertexts"]
    return matrix
