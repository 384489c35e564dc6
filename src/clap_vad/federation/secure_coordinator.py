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
    """The result of a secure sum.

    Attributes:
        message: stands for all members.
        members: the sites in the sum, in order.
        clipped: number of values that they clipped to their bounds.
        bytes_up, bytes_down: of all phases.
        impossible: participant -> why a reply of a phase is impossible. Its message may be in the sum.
    """

    message: Message
    members: tuple[str, ...]
    clipped: int
    bytes_up: int
    bytes_down: int
    impossible: Mapping[str, str]


class BrokenSumError(ClapError):
    """A secure sum failed, or its result is impossible.

    Attributes:
        impossible: participant -> why its reply is impossible; empty if the cause is unknown.
        again: whether asking again can help.
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
    """Ask the targets a question and learn only the sum of their replies.

    Sites may drop out in any phase as long as the threshold, two thirds of the targets, remains; a site that completed
    the third phase is in the sum.

    Args:
        ask: with ``sequence``, ``targets`` and ``deadline`` set; its reply's schema must be summable.
        engine: what carries the messages.
        dim: D.
        cohort: least number of sites in the sum.
        accepted: per participant the last question whose answer counted.
        before: sites of the sum when this question was asked before; the targets are its participants.
        keep: called with the sites of the sum, before they are asked for shares that they reveal for one sum only.
        out: participants left out of the run, and not asked if the sum has not been unmasked.

    Raises:
        TooFewRepliesError: nothing was learnt; the question can be asked again.
        BrokenSumError: nothing was learnt, because a site sent impossible values.
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
            f"step '{ask.step}': its secure sum began over {len(targets)} sites, which unmask no other sum of the same "
            f"answers; too many of them are left out to unmask it",
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
            f"step '{ask.step}': its sum was lost during unmasking; sites unmask no other sum of the same answers; "
            f"{', '.join(name for name in opened if name not in members)} must be there"
        )
    keep(Cohort(tuple(targets), members))
    revealed = asking.phase("unmask", question, members)
    narrow, wide = asking.collected(lambda: coordinator.unmasked(revealed))
    message, clipped = asking.collected(lambda: read_sum(secure, layout, narrow, wide, len(members)))
    return Summed(message, members, clipped, asking.bytes_up, asking.bytes_down, asking.impossible)


class _Asking:
    """The phases of one sum, as questions.

    Attributes:
        bytes_up, bytes_down: of the phases so far.
        impossible: participant -> why its reply to one of them is impossible.
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
        """Replies by participant, without impossible ones.

        Raises:
            TooFewRepliesError: fewer than the threshold.
            BrokenSumError: the same, and some replies were impossible.
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
        """The coordinator's result of a phase; raises :class:`BrokenSumError` if there is none."""
        try:
            return collect()
        except ClapError as error:
            raise BrokenSumError(f"step '{self._ask.step}', a secure sum: {error}", self.impossible) from None


def _matrix(sealed: Mapping[str, Mapping[str, np.ndarray]], targets: tuple[str, ...]) -> np.ndarray:
    """(n, n, SEALED_BYTES): per receiver the others' ciphertexts for it; zeros for sites that dropped out."""
    matrix = np.zeros((len(targets), len(targets), SEALED_BYTES), np.uint8)
    for receiver, question in sealed.items():
        matrix[targets.index(receiver)] = question["ciphertexts"]
    return matrix
