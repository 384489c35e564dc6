"""A site's side of one secure sum (Bonawitz et al., CCS 2017, figure 4).

The site adds to its vectors its own mask and, for every other site, a pairwise mask that one of the two adds and the
other subtracts. Pairwise masks cancel in the sum. If a site drops out, its pairwise masks are reconstructed from shares
of its key; otherwise its own mask is reconstructed from shares of its seed. With both secrets of one site its vectors
could be read, so a site sends, once, for each participant a share of only one of the two.

The paper's round in which sites sign to each other who delivered is left out. A coordinator that gives sites different
member lists still cannot reconstruct both secrets of one site, because the threshold is above half of the participants,
and it cannot obtain a sum over fewer than :func:`~clap_vad.protection.session.least_sum` sites.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import ClapError
from .packing import pack
from .parties import check_advertised, check_members, pair_key, seal_context, self_key, signed_bytes
from .primitives import Random, add_mask, agree, derive, new_key, public_half, seal, unseal
from .session import (
    KEY_BYTES,
    PHASES,
    SEALED_BYTES,
    SHARE_BYTES,
    Arrays,
    Session,
    check_arrays,
    question_shapes,
    reply_shapes,
)
from .sharing import split
from .signing import Signer, signature_array

__all__ = ["SecureSite"]


class SecureSite:
    """One participant in one session.

    Each phase is answered once. The same question again gets the same reply; a different one is refused. A refused
    question changes nothing.

    Args:
        session: the agreed session.
        name: this participant.
        signer: signs as this participant and verifies the others.
        random: draws secret bytes; for tests only.

    Raises:
        ClapError: the participant is not in the session.
    """

    def __init__(self, session: Session, name: str, signer: Signer, random: Random = secrets.token_bytes) -> None:
        self._session, self._name, self._row = session, name, session.row(name)
        self._signer, self._random = signer, random
        self._answers: list[tuple[bytes, Arrays]] = []  # digest of the question, reply; per phase
        self._sealing, self._masking = new_key(random), new_key(random)
        self._keys = np.zeros((0, 2, KEY_BYTES), np.uint8)  # keys of all sites, as advertised
        self._members: list[int] = []  # rows of the members of the last phase
        self._seed = b""
        self._held: dict[int, bytes] = {}  # by owner: share of its seed, share of its mask key

    def __reduce__(self) -> str:
        raise TypeError("the secrets of a session are not stored")

    def advertise(self) -> Arrays:
        """Phase 1: ``keys`` (2, 32), for sealing and for masks, and their ``signature``."""
        return self._answer("advertise", {}, self._advertise)

    def share(self, question: Mapping[str, np.ndarray]) -> Arrays:
        """Phase 2: ``ciphertexts`` (n, 92), one row of shares per participant; zeros in this site's own row.

        Args:
            question: ``present``, ``keys`` and ``signatures`` of those who advertised.

        Raises:
            ClapError: a key not signed by its owner, a duplicate key, or this site's own key altered; too few
                participants.
        """
        return self._answer("share", question, lambda: self._share(question))

    def mask(self, question: Mapping[str, np.ndarray], narrow: np.ndarray, wide: np.ndarray) -> Arrays:
        """Phase 3: the masked vectors, ``narrow`` (p,) uint32 and ``wide`` (q,) uint64.

        Args:
            question: ``present`` of those who shared, and their ``ciphertexts`` for this site.
            narrow: (p,) uint32 to be summed.
            wide: (q,) uint64 to be summed.

        Raises:
            ClapError: a ciphertext that was altered; too few participants; vectors of other shapes.
        """
        vectors = {"narrow": narrow, "wide": wide}
        shapes = reply_shapes(len(self._session.participants), self._session.sizes)["mask"]
        check_arrays(vectors, shapes, f"participant '{self._name}', its vectors")
        return self._answer("mask", question, lambda: self._mask(question, narrow, wide), vectors)

    def unmask(self, question: Mapping[str, np.ndarray]) -> Arrays:
        """Phase 4: ``shares`` (n, 32), for each who shared: of its seed if it delivered, otherwise of its mask key.

        Args:
            question: ``present`` of those who delivered masked vectors.

        Raises:
            ClapError: this site is not among them, they are too few, or one of them never shared; or a second question
                about another set.
        """
        return self._answer("unmask", question, lambda: self._unmask(question))

    def _answer(
        self, phase: str, question: Mapping[str, np.ndarray], work: Callable[[], Arrays], own: Arrays | None = None
    ) -> Arrays:
        number, where = PHASES.index(phase), f"participant '{self._name}', phase '{phase}'"
        check_arrays(question, question_shapes(len(self._session.participants))[phase], where)
        asked = _fingerprint({**question, **(own or {})})
        if number < len(self._answers):
            before, reply = self._answers[number]
            if before != asked:
                raise ClapError(f"{where}: already answered; a second, different question is refused")
            return dict(reply)
        if number > len(self._answers):
            raise ClapError(f"{where}: asked before phase '{PHASES[len(self._answers)]}'")
        reply = work()
        for array in reply.values():
            array.setflags(write=False)
        self._answers.append((asked, reply))
        return dict(reply)

    def _advertise(self) -> Arrays:
        keys = _bytes(public_half(self._sealing) + public_half(self._masking)).reshape(2, KEY_BYTES)
        signature = self._signer.sign(signed_bytes(self._session, self._name, keys))
        return {"keys": keys, "signature": signature_array(signature)}

    def _share(self, question: Mapping[str, np.ndarray]) -> Arrays:
        session, own = self._session, self._answers[0][1]
        keys, signatures = question["keys"], question["signatures"]
        everybody = range(len(session.participants))
        members = check_members(session, question["present"], everybody, "advertised keys")
        self._check_present(members)
        if not (
            np.array_equal(keys[self._row], own["keys"]) and np.array_equal(signatures[self._row], own["signature"])
        ):
            raise ClapError(f"participant '{self._name}': the coordinator altered its advertised keys")
        check_advertised(session, members, keys, signatures, self._signer)
        seed = self._random(KEY_BYTES)
        secret_pair = (seed, self._masking.private_bytes_raw())
        of_seed, of_key = (split(secret, session.threshold, len(everybody)) for secret in secret_pair)
        sealed, held = np.zeros((len(everybody), SEALED_BYTES), np.uint8), {}
        for row in members:
            shares, other = of_seed[row] + of_key[row], session.participants[row]
            if row == self._row:
                held[row] = shares
                continue
            key = self._sealing_key(keys[row, 0].tobytes(), self._name, other)
            sealed[row] = _bytes(seal(key, shares, seal_context(session, self._name, other), self._random))
        self._keys, self._members, self._seed, self._held = keys.copy(), members, seed, held
        return {"ciphertexts": sealed}

    def _mask(self, question: Mapping[str, np.ndarray], narrow: np.ndarray, wide: np.ndarray) -> Arrays:
        session = self._session
        members = check_members(session, question["present"], self._members, "shared secrets")
        self._check_present(members)
        held = {self._row: self._held[self._row]}
        masked, masked_wide = narrow.copy(), wide.copy()
        add_mask(self_key(session, self._name, self._seed), masked, masked_wide, 1)
        for row in members:
            if row == self._row:
                continue
            other = session.participants[row]
            key = self._sealing_key(self._keys[row, 0].tobytes(), other, self._name)
            try:
                sealed = question["ciphertexts"][row].tobytes()
                held[row] = unseal(key, sealed, seal_context(session, other, self._name))
            except ClapError as error:
                raise ClapError(f"participant '{self._name}': received from '{other}' {error}") from None
            pair, sign = pair_key(session, self._name, self._masking, other, self._keys[row, 1].tobytes())
            add_mask(pair, masked, masked_wide, sign)
        self._members, self._held = members, held
        return {"narrow": masked, "wide": masked_wide}

    def _unmask(self, question: Mapping[str, np.ndarray]) -> Arrays:
        session = self._session
        delivered = check_members(session, question["present"], self._members, "delivered masked vectors")
        self._check_present(delivered)
        shares = np.zeros((len(session.participants), SHARE_BYTES), np.uint8)
        for owner, pair in self._held.items():
            of_seed, of_key = pair[:SHARE_BYTES], pair[SHARE_BYTES:]
            shares[owner] = _bytes(of_seed if owner in delivered else of_key)
        return {"shares": shares}

    def _sealing_key(self, public: bytes, sender: str, receiver: str) -> bytes:
        secret = agree(self._sealing, public)
        return derive(secret, "sealing", self._session.digest, sender, receiver)

    def _check_present(self, members: Sequence[int]) -> None:
        if self._row not in members:
            raise ClapError(f"participant '{self._name}': asked by the coordinator although it is reported as absent")


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).copy()


def _fingerprint(arrays: Mapping[str, np.ndarray]) -> bytes:
    state = hashlib.sha256()
    for name in sorted(arrays):
        state.update(pack(name, arrays[name].nbytes))
        state.update(np.ascontiguousarray(arrays[name]).data)
    return state.digest()
