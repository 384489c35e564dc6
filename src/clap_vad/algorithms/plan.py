"""What a run is agreed to be, and what one participant brings to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.statistics.accounting import Terms
from ..features.roles import Roles
from ..features.store.reader import FeatureStore, VideoIndex
from ..federation.strategy import Strategy

__all__ = ["Plan", "SiteData"]


@dataclass(frozen=True)
class Plan:
    """What coordinator and sites agree on before a run, whatever the method.

    Attributes:
        participants: ids, in the order in which replies are summed.
        strategy: how updates are aggregated and what it adds to local training.
        rounds: rounds of federated training.
        seed: of the run.
        normalise: ``none`` or ``federated``.
        threads: processor threads of a site's step; part of a result's identity.
        dim: D.
        roles: what the features' numbers mean.
        fraction: part of the participants that each round draws.
        secure: whether replies leave sites under masks only, see :mod:`clap_vad.federation.secure`.
        stragglers: probability that a participant does fewer local epochs in a round (simulated).
        privacy: terms of differential privacy; None for none.
        update_encoding: ``float32``, or ``int8`` for updates in 8 bits, see :mod:`clap_vad.federation.encoding`.
    """

    participants: tuple[str, ...]
    strategy: Strategy
    rounds: int
    seed: int
    normalise: str
    threads: int
    dim: int
    roles: Roles = field(default_factory=Roles)
    fraction: float = 1.0
    stragglers: float = 0.0
    secure: bool = False
    privacy: Terms | None = None
    update_encoding: str = "float32"

    def per_round(self, participants: int) -> int:
        """How many of so many participants take part in a round."""
        return max(1, round(self.fraction * participants))


@dataclass(frozen=True)
class SiteData:
    """What one participant holds.

    Attributes:
        participant: its id.
        store: features.
        entries: its training videos, in the order of its file.
        scenes: of the videos, "" for one that names none; what a site learns for itself it learns scene by scene.
        labels: per video 0, 1 or None for one without a label; under no supervision all None, and no label has even
            been read.
    """

    participant: str
    store: FeatureStore
    entries: Sequence[VideoIndex]
    labels: Sequence[int | None]
    scenes: Sequence[str]
