from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from clap_vad.protection.coordinator import SecureCoordinator
from clap_vad.protection.session import Arrays, Session, open_session
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.protection.site import SecureSite

Vectors = tuple[np.ndarray, np.ndarray]


class Simulation:
    """All parties of one session in one process, a phase at a time.

    Attributes:
        questions: per phase the question to every site that is still there.
        replies: per phase the replies that came.
    """

    def __init__(self, session: Session, vectors: Mapping[str, Vectors], seed: int | None = None) -> None:
        self.session, self.vectors = session, vectors
        self.coordinator = SecureCoordinator(session)
        rng = np.random.default_rng(seed)
        random = {} if seed is None else {"random": rng.bytes}
        self.sites = {n: SecureSite(session, n, UnauthenticatedSigner(), **random) for n in session.participants}
        self.questions: dict[str, dict[str, Arrays]] = {}
        self.replies: dict[str, dict[str, Arrays]] = {}

    def advertise(self, names: Sequence[str]) -> None:
        self.replies["advertise"] = {name: self.sites[name].advertise() for name in names}
        question = self.coordinator.advertised(self.replies["advertise"])
        self.questions["share"] = dict.fromkeys(names, question)

    def share(self, names: Sequence[str]) -> None:
        self.replies["share"] = {name: self.sites[name].share(self.questions["share"][name]) for name in names}
        self.questions["mask"] = self.coordinator.shared(self.replies["share"])

    def mask(self, names: Sequence[str]) -> None:
        self.replies["mask"] = {
            name: self.sites[name].mask(self.questions["mask"][name], *self.vectors[name]) for name in names
        }
        question = self.coordinator.masked(self.replies["mask"])
        self.questions["unmask"] = dict.fromkeys(names, question)

    def unmask(self, names: Sequence[str]) -> Vectors:
        self.replies["unmask"] = {name: self.sites[name].unmask(self.questions["unmask"][name]) for name in names}
        return self.coordinator.unmasked(self.replies["unmask"])

    def up_to(self, phase: str, *names: Sequence[str]) -> Simulation:
        """Run the phases up to and including this one; ``names`` of each phase, the last one's for those after it."""
        there = list(names) or [self.session.participants]
        for number, step in enumerate(("advertise", "share", "mask", "unmask")):
            getattr(self, step)(there[min(number, len(there) - 1)])
            if step == phase:
                break
        return self

    def sum_of(self, names: Sequence[str]) -> Vectors:
        """The plain sum, modulo the rings."""
        narrow, wide = (np.zeros(size, kind) for size, kind in zip(self.session.sizes, ("u4", "u8"), strict=True))
        for name in names:
            narrow, wide = narrow + self.vectors[name][0], wide + self.vectors[name][1]
        return narrow, wide


def simulation(count: int = 5, sizes: tuple[int, int] = (6, 2), seed: int | None = None, **settings) -> Simulation:
    names = ["ada", "bob", "cyd", "dee", "eve", "fay", "gil", "hal", "ivy"][:count]
    rng = np.random.default_rng(count)
    vectors = {
        name: (
            rng.integers(2**32, size=sizes[0], dtype=np.uint32),
            rng.integers(2**64, size=sizes[1], dtype=np.uint64),
        )
        for name in names
    }
    settings.setdefault("identity", "round 1")
    return Simulation(open_session(participants=names, sizes=sizes, **settings), vectors, seed)


@pytest.fixture(scope="session")
def simulate():
    """Makes a :class:`Simulation`: of this many named sites, or of a given session and vectors."""

    def make(*arguments, **settings) -> Simulation:
        given_session = arguments and isinstance(arguments[0], Session)
        return Simulation(*arguments) if given_session else simulation(*arguments, **settings)

    return make
