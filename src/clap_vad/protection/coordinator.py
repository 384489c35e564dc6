"""The coordinator's side of one secure sum: it forwards the sites' messages and learns only the sum.

It cannot detect a site that gives wrong shares of a seed when only as many sites as the threshold answer, or that masks
wrong values. The sum is then wrong, as with any wrong values, but no site's values are revealed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import ClapError
from .parties import check_advertised, check_members, pair_key, self_key
from .primitives import add_mask, public_half
from .session import (
    KEY_BYTES,
    PHASES,
    SEALED_BYTES,
    SIGNATURE_BYTES,
    Arrays,
    Session,
    check_arrays,
    reply_shapes,
)
from .sharing import combine
from .signing import Verifier

__all__ = ["SecureCoordinator"]

Replies = Mapping[str, Mapping[str, np.ndarray]]
"""Replies by participant."""


class SecureCoordinator:
    """Collects the replies of each phase, in order, and makes the next question from them.

    Methods raise only :class:`ClapError`, which names the participant: for replies with undeclared arrays, from
    participants without part in the phase before, or from too few participants. The session is then unchanged, and the
    method can be called again without that reply.

    Args:
        session: the agreed session.
        verifier: checks signatures early; None leaves this to the sites.
    """

    def __init__(self, session: Session, verifier: Verifier | None = None) -> None:
        count = len(session.participants)
        self._session, self._verifier = session, verifier
        self._phase = 0
        self._members = list(range(count))
        self._sharers: list[int] = []
        self._keys = np.zeros((count, 2, KEY_BYTES), np.uint8)
        self._narrow, self._wide = np.zeros(session.sizes[0], np.uint32), np.zeros(session.sizes[1], np.uint64)

    @property
    def members(self) -> tuple[str, ...]:
        """Participants that replied in the last collected phase; after ``mask``, those whose vectors are summed."""
        return tuple(self._session.participants[row] for row in self._members)

    def advertised(self, replies: Replies) -> Arrays:
        """Collect phase 1; returns the question of phase 2, for :attr:`members`."""
        members = self._collect("advertise", replies, "advertised keys")
        count = len(self._session.participants)
        keys = np.zeros((count, 2, KEY_BYTES), np.uint8)
        signatures = np.zeros((count, SIGNATURE_BYTES), np.uint8)
        for row in members:
            reply = replies[self._session.participants[row]]
            keys[row], signatures[row] = reply["keys"], reply["signature"]
        check_advertised(self._session, members, keys, signatures, self._verifier or _Trusting())
        self._keys = keys
        return {"present": self._advance(members), "keys": keys.copy(), "signatures": signatures}

    def shared(self, replies: Replies) -> dict[str, Arrays]:
        """Collect phase 2; returns the question of phase 3 for each of :attr:`members`."""
        members = self._collect("share", replies, "shared secrets")
        names = self._session.participants
        questions = {}
        for receiver in members:
            sealed = np.zeros((len(names), SEALED_BYTES), np.uint8)
            for sender in members:
                sealed[sender] = replies[names[sender]]["ciphertexts"][receiver]
            questions[names[receiver]] = {"present": self._present(members), "ciphertexts": sealed}
        self._sharers = members
        self._advance(members)
        return questions

    def masked(self, replies: Replies) -> Arrays:
        """Collect phase 3; returns the question of phase 4, for :attr:`members`."""
        members = self._collect("mask", replies, "delivered masked vectors")
        for row in members:
            reply = replies[self._session.participants[row]]
            self._narrow += reply["narrow"]
            self._wide += reply["wide"]
        return {"present": self._advance(members)}

    def unmasked(self, replies: Replies) -> tuple[np.ndarray, np.ndarray]:
        """Collect phase 4; returns the sums over those who delivered: (p,) uint32 and (q,) uint64.

        Raises:
            ClapError: also if shares do not give a secret. Wrong shares of a mask key are always detected; wrong shares
                of a seed only if more than the threshold are present.
        """
        delivered = self._members
        answering = self._collect("unmask", replies, "sent shares")
        session = self._session
        narrow, wide = self._narrow.copy(), self._wide.copy()
        for owner in self._sharers:
            name = session.participants[owner]
            secret = self._secret(owner, answering, replies)
            if owner in delivered:
                add_mask(self_key(session, name, secret), narrow, wide, -1)
                continue
            key = X25519PrivateKey.from_private_bytes(secret)
            if public_half(key) != self._keys[owner, 1].tobytes():
                raise ClapError(f"participant '{name}' dropped out, and the shares of its key do not give this key")
            for row in delivered:
                other = session.participants[row]
                pair, sign = pair_key(session, name, key, other, self._keys[row, 1].tobytes())
                add_mask(pair, narrow, wide, sign)  # cancels the mask of the other site
        self._phase += 1
        return narrow, wide

    def _secret(self, owner: int, answering: list[int], replies: Replies) -> bytes:
        session = self._session
        name = session.participants[owner]
        shares = {row + 1: replies[session.participants[row]]["shares"][owner].tobytes() for row in answering}
        try:
            return combine(shares, session.threshold)
        except ClapError as error:
            raise ClapError(f"participant '{name}': the secret to unmask its vectors is lost: {error}") from None

    def _collect(self, phase: str, replies: Replies, what: str) -> list[int]:
        session = self._session
        if PHASES[self._phase : self._phase + 1] != (phase,):
            raise ClapError(f"session '{session.identity}': phase '{phase}' is not the next one")
        shapes = reply_shapes(len(session.participants), session.sizes)[phase]
        for name, reply in replies.items():
            session.row(name)
            check_arrays(reply, shapes, f"participant '{name}', phase '{phase}'")
        there = [row for row, name in enumerate(session.participants) if name in replies]
        return check_members(session, self._present(there), self._members, what)

    def _present(self, members: list[int]) -> np.ndarray:
        present = np.zeros(len(self._session.participants), np.uint8)
        present[members] = 1
        return present

    def _advance(self, members: list[int]) -> np.ndarray:
        self._members = members
        self._phase += 1
        return self._present(members)


class _Trusting:
    """Accepts every signature: the sites will check them."""

    def verify(self, name: str, data: bytes, signature: bytes) -> None:
        """Accept."""
