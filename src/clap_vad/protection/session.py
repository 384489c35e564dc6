"""The agreed parameters of one secure sum, and the shapes of all its messages.

The protocol is that of Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning",
CCS 2017. One session is one sum, in four phases. In each phase the coordinator sends a question to every remaining
site, and the site replies. With n participants, a uint32 vector of p entries and a uint64 vector of q entries:

=========  ==================================  ================================
phase      question to a site                  reply of a site
=========  ==================================  ================================
advertise  nothing                             keys         (2, 32)      uint8
.                                              signature    (4096,)      uint8
share      present      (n,)         uint8     ciphertexts  (n, 92)      uint8
.          keys         (n, 2, 32)   uint8
.          signatures   (n, 4096)    uint8
mask       present      (n,)         uint8     narrow       (p,)         uint32
.          ciphertexts  (n, 92)      uint8     wide         (q,)         uint64
unmask     present      (n,)         uint8     shares       (n, 32)      uint8
=========  ==================================  ================================

Rows are in the order of the participants; ``present`` is 1 for those who replied in the phase before, 0 for others,
whose rows are zeros. The questions of ``share`` and ``unmask`` are the same for all sites, that of ``mask`` is not.

All sites share masks pairwise (complete graph). In a sparse graph (Bell et al., "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead", CCS 2020) a malicious coordinator that gives sites different lists of who delivered could
report all neighbours of one site as absent, each to a few sites only, and read that site's vectors; see
:func:`least_sum`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from ..errors import ClapError
from .packing import digest

__all__ = [
    "KEY_BYTES",
    "LEAST_COHORT",
    "PHASES",
    "SEALED_BYTES",
    "SHARE_BYTES",
    "SIGNATURE_BYTES",
    "Arrays",
    "Session",
    "check_arrays",
    "least_members",
    "least_sum",
    "open_session",
    "question_shapes",
    "reply_shapes",
]

Arrays = dict[str, np.ndarray]
"""A question or a reply."""
Shapes = dict[str, tuple[tuple[int, ...], str]]
"""Shape and type per array."""

PHASES = ("advertise", "share", "mask", "unmask")
LEAST_COHORT = 3
"""Least number of sites in a sum: in a sum of two, each site knows the other's part."""
KEY_BYTES = 32
SHARE_BYTES = 32
SEALED_BYTES = 12 + 2 * SHARE_BYTES + 16
"""Nonce, one share of each of two secrets, tag."""
SIGNATURE_BYTES = 4096
"""Space for a length, a signature and its certificate."""


@dataclass(frozen=True)
class Session:
    """One secure sum. :func:`open_session` fills in the defaults.

    Attributes:
        identity: name of the session, unique in a federation.
        participants: names of all sites, in the order of rows.
        sizes: lengths of the uint32 vector and of the uint64 vector.
        threshold: t, number of sites that must remain through all phases.
        cohort: least number of sites in the sum.
        context: anything else that all must agree on, such as the digest of a layout.

    Raises:
        ClapError: values with which the protocol gives no protection or cannot work.
    """

    identity: str
    participants: tuple[str, ...]
    sizes: tuple[int, int]
    threshold: int
    cohort: int = LEAST_COHORT
    context: bytes = b""

    def __post_init__(self) -> None:
        count, where = len(self.participants), f"session {self.identity!r}"
        if len(set(self.participants)) < count or not all(self.participants):
            raise ClapError(f"{where}: every participant needs a unique name")
        try:
            _ = "".join((self.identity, *self.participants)).encode()
        except UnicodeEncodeError:
            raise ClapError(f"{where}: a name is not valid Unicode text") from None
        if self.cohort < LEAST_COHORT:
            raise ClapError(f"{where}: a cohort of {self.cohort} protects no site; give at least {LEAST_COHORT}")
        if count < self.cohort:
            raise ClapError(f"{where}: {count} participants, but a sum over at least {self.cohort} is required")
        if len(self.sizes) != 2 or min(self.sizes) < 0:
            raise ClapError(f"{where}: vectors of {self.sizes} entries")
        if not count < 2 * self.threshold <= 2 * count:
            raise ClapError(f"{where}: a threshold of {self.threshold}; give more than half of {count} participants")
        if least_sum(count, self.threshold) < self.cohort:
            raise ClapError(
                f"{where}: with a threshold of {self.threshold} and {count} participants a malicious coordinator can "
                f"sum over fewer than {self.cohort} of them; raise the threshold"
            )

    @cached_property
    def digest(self) -> bytes:
        """32 bytes that represent all of the above in every signature, key and ciphertext.

        Sites that received different session parameters therefore refuse each other's keys.
        """
        numbers = (*self.sizes, self.threshold, self.cohort)
        return digest("clap-vad secure sum 1", self.identity, *numbers, self.context, *self.participants)

    def row(self, name: str) -> int:
        """The row of a participant; raises :class:`ClapError` for an unknown name."""
        if name not in self.participants:
            raise ClapError(f"session '{self.identity}': '{name}' does not take part")
        return self.participants.index(name)


@lru_cache
def least_sum(participants: int, threshold: int) -> int:
    """Least number of sites in a sum that a malicious coordinator can obtain by giving sites different member lists.

    In the paper sites sign to each other who delivered. Without that round, a coordinator can report a site as absent
    to some sites and as present to others. To read the sum over a set S of s sites, to which it reported m sites that
    share masks, it needs t shares of the mask key of each of the m - s others. A site sends shares of the keys of
    absent sites only, and at least t of the sites reported to it, itself included, are present. Counting these shares
    gives a bound that holds if no site colludes with the coordinator.

    Args:
        participants: n.
        threshold: t, more than n / 2.

    >>> [least_sum(9, t) for t in (5, 6, 7, 9)], [least_sum(n, -(-2 * n // 3)) for n in (3, 4, 6, 20)]
    ([1, 5, 7, 9], [2, 3, 3, 11])
    """
    n, t = participants, threshold
    for s in range(1, t):
        for m in range(t, n + 1):
            others = m - s
            shares = s * min(m - t, others) + others * min(n - t, others - 1) + (n - m) * min(n - t, others)
            if shares >= t * others:
                return s
    return t


def open_session(
    identity: str,
    participants: Sequence[str],
    sizes: tuple[int, int],
    *,
    threshold: int | None = None,
    cohort: int = LEAST_COHORT,
    context: bytes = b"",
) -> Session:
    """A :class:`Session`, with defaults.

    Args:
        threshold: default: at least two thirds of the participants and at least the cohort. With 2 t > n + c, a
            coordinator that colludes with c < n / 3 sites cannot get t shares of both secrets of one site.

    >>> open_session("round 3", ["ada", "bob", "cyd", "dee"], (10, 0)).threshold
    3
    """
    if threshold is None:
        threshold = _default_threshold(len(participants), cohort)
    return Session(identity, tuple(participants), (sizes[0], sizes[1]), threshold, cohort, context)


def _default_threshold(count: int, cohort: int) -> int:
    least = range(max(cohort, -(-2 * count // 3)), count)
    return next((t for t in least if least_sum(count, t) >= cohort), count)


def least_members(participants: int, cohort: int = LEAST_COHORT) -> int:
    """Least number of sites in a sum under the default threshold, even with a malicious coordinator.

    >>> [least_members(count) for count in (3, 4, 13, 20)]
    [3, 3, 7, 11]
    """
    return least_sum(participants, _default_threshold(participants, cohort))


def question_shapes(participants: int) -> dict[str, Shapes]:
    """Arrays of the question of each phase, for n participants."""
    present: Shapes = {"present": ((participants,), "uint8")}
    keys: Shapes = {
        "keys": ((participants, 2, KEY_BYTES), "uint8"),
        "signatures": ((participants, SIGNATURE_BYTES), "uint8"),
    }
    sealed: Shapes = {"ciphertexts": ((participants, SEALED_BYTES), "uint8")}
    return {"advertise": {}, "share": {**present, **keys}, "mask": {**present, **sealed}, "unmask": present}


def reply_shapes(participants: int, sizes: tuple[int, int]) -> dict[str, Shapes]:
    """Arrays of the reply of each phase, for n participants and vectors of these lengths."""
    return {
        "advertise": {"keys": ((2, KEY_BYTES), "uint8"), "signature": ((SIGNATURE_BYTES,), "uint8")},
        "share": {"ciphertexts": ((participants, SEALED_BYTES), "uint8")},
        "mask": {"narrow": ((sizes[0],), "uint32"), "wide": ((sizes[1],), "uint64")},
        "unmask": {"shares": ((participants, SHARE_BYTES), "uint8")},
    }


def check_arrays(arrays: Mapping[str, np.ndarray], shapes: Shapes, where: str) -> None:
    """Raise :class:`ClapError`, starting with ``where``, unless these are exactly the declared arrays."""
    if arrays.keys() != shapes.keys():
        raise ClapError(f"{where}: entries {sorted(arrays.keys() ^ shapes.keys())} are missing or not declared")
    for name, (shape, dtype) in shapes.items():
        array = arrays[name]
        if not isinstance(array, np.ndarray):
            raise ClapError(f"{where}: '{name}' is not an array")
        if array.shape != shape or array.dtype != np.dtype(dtype):
            raise ClapError(
                f"{where}: '{name}' is {array.dtype} of shape {array.shape}; {dtype} of shape {shape} is declared"
            )
    if "present" in shapes and arrays["present"].size and arrays["present"].max() > 1:
        raise ClapError(f"{where}: 'present' has values other than 0 and 1")
