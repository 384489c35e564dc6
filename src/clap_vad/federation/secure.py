"""Secure aggregation of messages: what a site adds to a sum, and what the coordinator reads from it.

The protocol is in :mod:`clap_vad.protection`; this module applies it to messages. One mechanism serves updates, control
variates, statistics, counts and histograms: the schema alone determines how a message becomes fixed-point numbers, and
the sum becomes one message that stands for all sites. A message of means is first multiplied by the site's share of all
segments, and the sum is divided by the sum of shares: the mean over all segments of the sites in it. Whole steps of 8
bits are of numbers that were multiplied before they were rounded, see :mod:`clap_vad.federation.encoding`.
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
"""Entry added to a message of means: the site's share of all segments."""

_CLIPPED = "clipped"
"""Entry added to every message: how many of its values were clipped to their bound."""


def layout_of(name: str, dim: int, participants: int) -> Layout:
    """The layout of a message of this schema in the summed vectors.

    Raises:
        ClapError: it is not summable.
    """
    declared = schema(name)
    if not declared.summable:
        raise RefusalError(f"a message of schema '{name}' is not summable, so masks cannot hide it; refused")
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
    """The session of a secure sum, the same for all participants."""
    context = layout.digest + secure.total.to_bytes(8, "big") + secure.question.encode("utf-8", "surrogatepass")
    return open_session(secure.identity, secure.participants, layout.sizes, cohort=secure.cohort, context=context)


def read_sum(
    secure: SecureSum, layout: Layout, narrow: np.ndarray, wide: np.ndarray, members: int
) -> tuple[Message, int]:
    """The message that stands for all sites in the sum, and how many values they clipped.

    Means of whole steps are float64, as they are no longer whole numbers.

    Args:
        secure: the sum.
        layout: of its vectors.
        narrow, wide: the vectors.
        members: number of sites in the sum.

    Raises:
        ImpossibleMessageError: the sum is impossible for so many sites.
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
    """Raise :class:`ImpossibleMessageError` if the sum is impossible for so many sites.

    Nothing else can be checked. A site with other software can add any values, modulo the ring; some of them give a
    sum that is possible.
    """
    declared, where, error = schema(secure.schema), f"the sum over {members} sites, message '{secure.schema}'", 0.0
    for entry in layout.entries:
        value, point = np.asarray(total[entry.name], np.float64), layout.point(entry.name)
        if isinstance(point, FixedPoint) and entry.dtype != "int64":
            error = max(error, members * 2.0**-point.exponent)
        known = declared.fields.get(entry.name)
        low = 0.0 if known is None else known.low  # the share, and the number of clipped values
        if (np.abs(value) > members * point.bound + error).any() or (low == 0 and (value < -error).any()):
            raise ImpossibleMessageError(f"{where}: '{entry.name}' is impossible for so many sites")
    if declared.mean:
        count, share = float(total["count"]), float(total[_SHARE])
        if secure.total and count <= secure.total and abs(share - count / secure.total) > error:
            raise ImpossibleMessageError(f"{where}: its count and its share of all segments do not agree")
    elif not total[_CLIPPED] and (reason := declared.possible(total, error)) is not None:
        raise ImpossibleMessageError(f"{where}: impossible values: {reason}")


def _typed(name: str, message: Mapping[str, np.ndarray | int | float]) -> Message:
    fields = schema(name).fields
    kinds = {key: "float64" if field.dtype == "int8" else field.dtype for key, field in fields.items()}
    return {key: np.asarray(value).astype(kinds[key]) for key, value in message.items()}


@dataclass(frozen=True)
class PhaseCheck:
    """Checks a reply of a phase: arrays of these shapes and types."""

    phase: str
    session: Session

    @property
    def most_bytes(self) -> int:
        """Largest size of a reply on the wire, in bytes."""
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
    """A site's side of a run under secure aggregation. Its secrets are kept in memory only, for one sum at a time.

    Args:
        participant: its id.
        participants: of the run; a sum may be over some of them.
        signer: signs its keys and verifies those of the others.
        cohort: least number of sites in a sum by this site's policy; never below 3.
    """

    def __init__(self, participant: str, participants: Sequence[str], signer: Signer, cohort: int) -> None:
        self._participant = participant
        self._participants = frozenset(participants)
        self._signer = signer
        self._cohort = max(cohort, LEAST_COHORT)
        self._current: tuple[SecureSum, SecureSite] | None = None
        self._begun: set[str] = set()

    def answer(self, ask: Ask, dim: int) -> Message:
        """The answer to a question of a phase other than ``mask``."""
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
            RefusalError: the question differs from the one that the sum began with, on which all sites agree. With a
                different model for each site a coordinator could separate their answers in the sum (Pasquini et al.
                2022).
        """
        secure = self._checked(ask)
        if secure.question != question_digest(ask).hex():
            raise RefusalError("a secure sum whose question differs from the one that it began with; refused")
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
            raise RefusalError("this run promises secure aggregation, and the question asks for no masks; refused")
        if secure.cohort < self._cohort:
            raise RefusalError(f"a sum over {secure.cohort} sites or more; this site's policy asks for {self._cohort}")
        strangers = [name for name in secure.participants if name not in self._participants]
        if strangers or self._participant not in secure.participants:
            raise RefusalError("a secure sum over sites that are not participants of this run; refused")
        return secure

    def _site(self, secure: SecureSum, dim: int) -> SecureSite:
        """The session of this sum; its first phase begins a new session and deletes the old one."""
        if self._current is None or self._current[0].identity != secure.identity:
            if secure.phase != "advertise":
                raise ClapError("the secrets of this secure sum are lost: the site was restarted in between")
            if secure.identity in self._begun:
                raise RefusalError("a secure sum whose name was used before; refused")
            session = session_of(secure, layout_of(secure.schema, dim, len(secure.participants)))
            self._begun.add(secure.identity)
            self._current = (secure, SecureSite(session, self._participant, self._signer))
        known, site = self._current
        if replace(known, phase=secure.phase) != secure:
            raise RefusalError("a secure sum that differs from the one that it began as; refused")
        return site


def share_of(message: Message, secure: SecureSum) -> float:
    """Factor of a message's means before they go into the sum; 1 for a plain sum."""
    if not schema(secure.schema).mean:
        return 1.0
    if not secure.total:
        raise RefusalError("a secure sum of means without a total; refused")
    return int(message["count"]) / secure.total


def _shared_out(message: Message, secure: SecureSum) -> Message:
    """A message of means times the site's share of all segments; plain messages and whole steps unchanged."""
    share, declared = share_of(message, secure), schema(secure.schema)
    if not declared.mean:
        return dict(message)
    scaled = {
        name: (np.asarray(message[name], np.float64) * share).astype(field.dtype)
        for name, field in declared.fields.items()
        if name != "count" and field.dtype != "int8"
    }
    return {**message, **scaled, _SHARE: share}
