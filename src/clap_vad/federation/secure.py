"""Secure aggregation of messages: what a site puts in a sum, and what the coordinator reads from it.

The protocol is in :mod:`clap_vad.protection`; here it meets messages. One mechanism serves updates, control variates,
statistics, counts and histograms: a message becomes fixed-point numbers by its schema alone, and what comes out of the
sum is one message that stands for all sites. A message of means is first multiplied by the site's share of all
segments, and the sum divided by the sum of shares, which gives the mean over all segments of those that took part.
Whole steps of 8 bits are of numbers that were multiplied before they were rounded, see
:mod:`clap_vad.federation.encoding`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ClapError
from ..protection.fixed_point import FixedPoint
from ..protection.layout import Entry, Layout
from ..protection.session import LEAST_COHORT, Session, check_arrays, open_session, reply_shapes
from ..protection.signing import Signer
from ..protection.site import SecureSite
from .ask import Ask, SecureSum
from .messages import Field, ImpossibleMessageError, Message, schema
from .policy import RefusalError
from .question import question_digest

__all__ = ["PHASE_SCHEMAS", "PhaseCheck", "SiteProtection", "layout_of", "read_sum", "session_of", "share_of"]

PHASE_SCHEMAS = {
    "advertise": "secure_keys",
    "share": "secure_shares",
    "mask": "masked",
    "unmask": "secure_unmasking",
}
"""Phase -> schema of its reply."""

_SHARE = "share"
"""Entry that is added to a message of means: the site's segments as a share of all."""

_CLIPPED = "clipped"
"""Entry that is added to every message: how many of its values were clipped to their bound."""


def layout_of(name: str, dim: int, participants: int) -> Layout:
    """How a message of this schema stands in the summed vectors.

    Raises:
        ClapError: it is not for sums.
    """
    declared = schema(name)
    if not declared.summable:
        raise RefusalError(f"a message of schema '{name}' is a site's own and cannot be hidden in a sum; refused")
    entries = [
        Entry(key, tuple(int(n) for n in field.sizes(dim)), field.dtype, _bound(field))
        for key, field in declared.fields.items()
    ]
    if declared.mean:
        entries.append(Entry(_SHARE, (), "float64", 1.0))
    return Layout([*entries, Entry(_CLIPPED, (), "int64", 1 << 40)], participants)


def _bound(field: Field) -> float:
    return int(field.bound) if field.dtype in ("int8", "int64") else field.bound


def session_of(secure: SecureSum, layout: Layout) -> Session:
    """The session of a secure sum, the same for all who take part."""
    context = layout.digest + secure.total.to_bytes(8, "big") + secure.question.encode("utf-8", "surrogatepass")
    return open_session(secure.identity, secure.participants, layout.sizes, cohort=secure.cohort, context=context)


def read_sum(
    secure: SecureSum, layout: Layout, narrow: np.ndarray, wide: np.ndarray, members: int
) -> tuple[Message, int]:
    """The message that stands for all whose vectors are in the sum, and how many values they clipped.

    Means of whole steps are float64: they are no whole numbers any more.

    Args:
        secure: the sum.
        layout: of its vectors.
        narrow, wide: the vectors.
        members: how many sites' are in it.

    Raises:
        ImpossibleMessageError: so many sites have no such sum.
    """
    total = layout.decode(narrow, wide)
    _check_sum(secure, layout, total, members)
    clipped = int(total.pop(_CLIPPED))
    if not schema(secure.schema).mean:
        return _typed(secure.schema, total), clipped
    share = float(total.pop(_SHARE))
    means = {name: np.asarray(value, np.float64) / share if share else value for name, value in total.items()}
    return _typed(secure.schema, {**means, "count": total["count"]}), clipped


def _check_sum(secure: SecureSum, layout: Layout, total: Message, members: int) -> None:
    """Raise :class:`ImpossibleMessageError` for a sum that messages of so many sites cannot have.

    It is all that can be looked at. A site that runs other software can add anything, modulo the ring: the sum is then
    seen to be impossible, or it is not.
    """
    declared, where, error = schema(secure.schema), f"the sum over {members} sites, message '{secure.schema}'", 0.0
    for entry in layout.entries:
        value, point = np.asarray(total[entry.name], np.float64), layout.point(entry.name)
        if isinstance(point, FixedPoint) and entry.dtype != "int64":
            error = max(error, members * 2.0**-point.exponent)
        known = declared.fields.get(entry.name)
        low = 0.0 if known is None else known.low  # a share, and how many were clipped
        if (np.abs(value) > members * point.bound + error).any() or (low == 0 and (value < -error).any()):
            raise ImpossibleMessageError(f"{where}: '{entry.name}' is outside what so many sites can have")
    if declared.mean:
        count, share = float(total["count"]), float(total[_SHARE])
        if secure.total and count <= secure.total and abs(share - count / secure.total) > error:
            raise ImpossibleMessageError(f"{where}: its count and its share of all segments do not agree")
    elif not total[_CLIPPED] and (reason := declared.possible(total, error)) is not None:
        raise ImpossibleMessageError(f"{where}: cannot be true: {reason}")


def _typed(name: str, message: Mapping[str, np.ndarray | int | float]) -> Message:
    fields = schema(name).fields
    kinds = {key: "float64" if field.dtype == "int8" else field.dtype for key, field in fields.items()}
    return {key: np.asarray(value).astype(kinds[key]) for key, value in message.items()}


@dataclass(frozen=True)
class PhaseCheck:
    """What a reply of a phase must be: arrays of these shapes and types."""

    phase: str
    session: Session

    @property
    def most_bytes(self) -> int:
        """Bytes that it can have at most on the wire."""
        shapes = reply_shapes(len(self.session.participants), self.session.sizes)[self.phase]
        return 4096 + sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in shapes.values())

    def __call__(self, participant: str, message: Message) -> None:
        """Raise :class:`ImpossibleMessageError` for a reply that cannot be used."""
        shapes = reply_shapes(len(self.session.participants), self.session.sizes)[self.phase]
        arrays = {name: np.asarray(value) for name, value in message.items()}
        try:
            check_arrays(arrays, shapes, f"participant '{participant}', phase '{self.phase}'")
        except ClapError as error:
            raise ImpossibleMessageError(str(error)) from None


class SiteProtection:
    """A site's side of a run under secure aggregation. Its secrets live in memory alone, one sum at a time.

    Args:
        participant: its id.
        participants: of the run; a sum may be over some of them.
        signer: signs its keys and verifies those of the others.
        cohort: sites that a sum must be over at least, by this site's policy; never below 3.
    """

    def __init__(self, participant: str, participants: Sequence[str], signer: Signer, cohort: int) -> None:
        self._participant = participant
        self._participants = frozenset(participants)
        self._signer = signer
        self._cohort = max(cohort, LEAST_COHORT)
        self._current: tuple[SecureSum, SecureSite] | None = None
        self._begun: set[str] = set()

    def answer(self, ask: Ask, dim: int) -> Message:
        """A question of a phase other than ``mask``."""
        secure = self._checked(ask)
        site = self._site(secure, dim)
        question = {name: np.asarray(value) for name, value in ask.payload.items()}
        if secure.phase == "advertise":
            return dict(site.advertise())
        if secure.phase == "share":
            return dict(site.share(question))
        if secure.phase == "unmask":
            return dict(site.unmask(question))
        raise RefusalError(f"a secure sum has no phase '{secure.phase}'")

    def mask(self, ask: Ask, message: Message, dim: int) -> Message:
        """The message of a step under masks.

        Args:
            ask: the question, whose payload holds ``secure.present`` and ``secure.ciphertexts``.
            message: the step's reply, checked against its schema.
            dim: D.

        Raises:
            RefusalError: the question is another than that which the sum began with. All sites agree on that one: a
                coordinator that asked each about another model could tell whose answer is whose in their sum (Pasquini
                et al. 2022).
        """
        secure = self._checked(ask)
        if secure.question != question_digest(ask).hex():
            raise RefusalError("a secure sum whose question is another than it began with; refused")
        site, layout = self._site(secure, dim), layout_of(secure.schema, dim, len(secure.participants))
        values, where = _shared_out(message, secure), f"participant '{self._participant}'"
        encoded = layout.encode({**values, _CLIPPED: 0}, where)
        if clipped := sum(encoded.clipped.values()):
            encoded = layout.encode({**values, _CLIPPED: clipped}, where)
        row = secure.participants.index(self._participant)
        question = {
            "present": np.asarray(ask.payload["secure.present"]),
            "ciphertexts": np.asarray(ask.payload["secure.ciphertexts"])[row],
        }
        return dict(site.mask(question, encoded.narrow, encoded.wide))

    def _checked(self, ask: Ask) -> SecureSum:
        secure = ask.secure
        if secure is None:
            raise RefusalError("this run promises secure aggregation, and the question is for a bare answer; refused")
        if secure.cohort < self._cohort:
            raise RefusalError(f"a sum over {secure.cohort} sites or more; this site's policy asks for {self._cohort}")
        strangers = [name for name in secure.participants if name not in self._participants]
        if strangers or self._participant not in secure.participants:
            raise RefusalError("a secure sum over others than the participants of this run; refused")
        return secure

    def _site(self, secure: SecureSum, dim: int) -> SecureSite:
        """The session of this sum; a new one begins with its first phase, and the old one is forgotten."""
        if self._current is None or self._current[0].identity != secure.identity:
            if secure.phase != "advertise":
                raise ClapError("the secrets of this secure sum are gone: the site was started anew in between")
            if secure.identity in self._begun:
                raise RefusalError("a secure sum whose name has been used; refused")
            session = session_of(secure, layout_of(secure.schema, dim, len(secure.participants)))
            self._begun.add(secure.identity)
            self._current = (secure, SecureSite(session, self._participant, self._signer))
        known, site = self._current
        if replace(known, phase=secure.phase) != secure:
            raise RefusalError("a secure sum that is told to be another than it began as; refused")
        return site


def share_of(message: Message, secure: SecureSum) -> float:
    """What a message's means are multiplied by before they go into the sum; 1 for a plain one."""
    if not schema(secure.schema).mean:
        return 1.0
    if not secure.total:
        raise RefusalError("a secure sum of means without a total; refused")
    return int(message["count"]) / secure.total


def _shared_out(message: Message, secure: SecureSum) -> Message:
    """A message of means times the site's share of all segments; a plain one, and whole steps, as they are."""
    share, declared = share_of(message, secure), schema(secure.schema)
    if not declared.mean:
        return dict(message)
    scaled = {
        name: (np.asarray(message[name], np.float64) * share).astype(field.dtype)
        for name, field in declared.fields.items()
        if name != "count" and field.dtype != "int8"
    }
    return {**message, **scaled, _SHARE: share}
