"""Computations common to both sides of a secure sum: signed bytes, keys, and checks of the members."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import ClapError
from .packing import pack
from .primitives import agree, derive
from .session import Session
from .signing import Verifier, signature_bytes

__all__ = ["check_advertised", "check_members", "pair_key", "seal_context", "self_key", "signed_bytes"]


def signed_bytes(session: Session, name: str, keys: np.ndarray) -> bytes:
    """The bytes that a site signs to advertise its keys: session, name, both keys (2, 32)."""
    return pack("clap-vad secure sum 1: advertised keys", session.digest, name, keys.tobytes())


def seal_context(session: Session, sender: str, receiver: str) -> bytes:
    """The associated data of a ciphertext of shares."""
    return pack("shares", session.digest, sender, receiver)


def pair_key(session: Session, own: str, key: X25519PrivateKey, other: str, public: bytes) -> tuple[bytes, int]:
    """The key of the mask shared by two sites, and the sign with which ``own`` adds it: 1 if its name comes first."""
    first, second = sorted((own, other))
    return derive(agree(key, public), "pair mask", session.digest, first, second), 1 if own == first else -1


def self_key(session: Session, name: str, seed: bytes) -> bytes:
    """The key of a site's own mask."""
    return derive(seed, "self mask", session.digest, name)


def check_members(session: Session, present: np.ndarray, before: Sequence[int], what: str) -> list[int]:
    """Rows of the present participants, after a check that the sum can continue with them.

    Args:
        present: (n,) of 0 and 1.
        before: rows of the participants in the phase before.
        what: what they did, for the error message.

    Raises:
        ClapError: a participant is present that was not before, or too few are present.
    """
    members = [int(row) for row in np.flatnonzero(present)]
    where = f"session '{session.identity}'"
    late = [session.participants[i] for i in members if i not in before]
    if late:
        raise ClapError(f"{where}: {late} {what} without taking part in the phase before")
    if len(members) < session.threshold:
        raise ClapError(
            f"{where}: {len(members)} participants {what}, but {session.threshold} are needed; start it again"
        )
    return members


def check_advertised(
    session: Session, members: Sequence[int], keys: np.ndarray, signatures: np.ndarray, verifier: Verifier
) -> None:
    """Raise :class:`ClapError`, naming a participant, unless every advertised key is usable and signed by its owner.

    Args:
        members: rows of the participants that advertised.
        keys: (n, 2, 32) uint8.
        signatures: (n, 4096) uint8.
    """
    seen: dict[bytes, str] = {}
    probe = X25519PrivateKey.generate()
    for row in members:
        name = session.participants[row]
        for key in (keys[row, 0].tobytes(), keys[row, 1].tobytes()):
            if key in seen:
                raise ClapError(f"participant '{name}': one of its keys is also a key of '{seen[key]}'")
            seen[key] = name
            try:
                agree(probe, key)
            except ClapError as error:
                raise ClapError(f"participant '{name}': {error}") from None
        try:
            signature = signature_bytes(signatures[row])
        except ClapError as error:
            raise ClapError(f"participant '{name}': {error}") from None
        verifier.verify(name, signed_bytes(session, name, keys[row]), signature)
