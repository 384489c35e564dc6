"""A malicious coordinator against the run's own site objects: it asks whatever the sites' checks accept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..core.density.bounded_density import BoundedSums, radius_for
from ..core.density.gaussian_mixture import CUT, Mixture
from ..core.statistics.moments import Normaliser
from ..core.statistics.randomness import keyed_generator
from ..federation.ask import Ask
from ..federation.messages import ACKNOWLEDGEMENT, Message
from ..workflows.opening import Opened

__all__ = ["TRUTH", "Attacks", "Known", "MaliciousCoordinator"]

TRUTH = 1e-9
"""Share of the noise with which answers are practically exact; sites clip their sums as with the full noise."""

_NO_CAP = 1e300
_SEEDS = 7_000_003
"""Seeds of the noise, so that the audit is repeatable; no attack uses them."""


@dataclass(frozen=True)
class Known:
    """What the coordinator of an honest run knows at its end.

    Attributes:
        normaliser: of the run.
        sizes, most: as sent by the run.
        mixture: its density.
    """

    normaliser: Normaliser
    sizes: np.ndarray
    most: float
    mixture: Mixture


class MaliciousCoordinator:
    """A malicious coordinator in one conversation with some sites, started from the beginning in an empty folder.

    Args:
        opened: the run's configuration.
        known: results of the honest run.
        names: the sites; their answers are summed.
        folder: empty.
        noise: share of the run's noise that each site adds.
        number: of the conversation; each has its own noise.
    """

    def __init__(
        self, opened: Opened, known: Known, names: Sequence[str], folder: Path, *, noise: float, number: int
    ) -> None:
        terms = opened.plan.spec.privacy
        assert terms is not None  # every run of the method has terms
        training, statistics = terms.noise_training * noise, terms.noise_statistics * noise
        private = replace(terms, noise_training=training, noise_statistics=statistics, seed=_SEEDS + number)
        alone = opened.plan.having(secure_aggregation=False, fraction=1.0, privacy=private)
        plan = replace(alone, participants=tuple(names))
        held = {name: opened.participants[name] for name in names}
        self._sites = replace(opened, plan=plan).federation(folder, held).sites()
        self._known, self._sequence, self._round = known, 0, -1
        self.dim, self.questions = len(known.sizes), plan.spec.rounds + 1
        self.exact = training == 0
        self.radius = radius_for(self.dim, training > 0)

    def ask(self, step: str, reply: str, payload: Message) -> Message:
        """Ask one question; returns the sum of the answers."""
        accepted = {site.participant: self._sequence - 1 for site in self._sites}
        ask = Ask(step, reply, payload, sequence=self._sequence, accepted=accepted)
        replies = [site.handle(ask) for site in self._sites]
        self._sequence += 1
        return {name: np.sum([np.asarray(reply[name]) for reply in replies], axis=0) for name in replies[0]}

    def begin(self, scale: float = 1.0) -> tuple[Message, Message]:
        """Run the steps up to the normalisation.

        Args:
            scale: standard deviation of the standardised rows; 1 for an honest coordinator.

        Returns:
            The answers to ``sizes`` and ``moments``.
        """
        known = self._known
        sizes = self.ask("sizes", "row_sizes", {})
        question: Message = {"sizes": known.sizes, "most": known.most, "cap": _NO_CAP}
        moments = self.ask("moments", "row_moments", question)
        stretched = (known.normaliser.scale * scale).astype(np.float32)
        self.ask("normalise", ACKNOWLEDGEMENT, {"mean": known.normaliser.mean, "scale": stretched, "cap": _NO_CAP})
        return sizes, moments

    def expect(self, mixture: Mixture) -> BoundedSums:
        """Ask the next round's question, with any mixture that sites accept."""
        self._round += 1
        parts = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
        sums = self.ask("expect", "row_density", {"round": self._round, **parts})
        return BoundedSums(*(np.asarray(sums[name]) for name in ("mass", "first", "second")))

    def rows(self) -> np.ndarray:
        """(n, d) the sites' standardised rows, never sent: the reference for the audit."""
        states = [site.state(self._sequence) for site in self._sites]
        return np.concatenate([state["rows"] for state in states]).astype(np.float64)


@dataclass
class Attacks:
    """The common parts of all attacks on a run.

    Attributes:
        opened: the run's configuration.
        known: to its coordinator.
        scratch: an empty folder.
        numbers: of conversations.
    """

    opened: Opened
    known: Known
    scratch: Path
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def liar(self, names: Sequence[str], noise: float) -> MaliciousCoordinator:
        """A new conversation."""
        number = next(self.numbers)
        return MaliciousCoordinator(
            self.opened, self.known, names, self.scratch / f"liar-{number}", noise=noise, number=number
        )

    def rng(self, purpose: str) -> np.random.Generator:
        """A random generator for this purpose."""
        return keyed_generator(self.opened.plan.spec.seed, 0, "", f"audit {purpose}")

    def truth(self, names: Sequence[str]) -> np.ndarray:
        """(n, d) the sites' rows, standardised as in an honest run."""
        liar = self.liar(names, TRUTH)
        liar.begin()
        return liar.rows()

    def drawn(self, count: int, purpose: str) -> np.ndarray:
        """(count, d) random rows from the run's density, which its coordinator knows."""
        rng, mixture = self.rng(purpose), self.known.mixture
        parts = rng.choice(len(mixture.weights), count, p=mixture.weights / mixture.weights.sum())
        roots = np.linalg.cholesky(mixture.covariances)
        found = mixture.means[parts] + np.einsum("nij,nj->ni", roots[parts], rng.standard_normal((count, mixture.dim)))
        return np.clip(found, -CUT, CUT)
