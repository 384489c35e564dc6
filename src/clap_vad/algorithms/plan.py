"""A running run: its specification, participants and features; and the data of one participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..features.extraction.extractor import roles_of
from ..features.roles import Roles
from ..features.store.reader import FeatureStore, VideoIndex
from ..federation.strategy import Strategy, make_strategy
from ..specification.run import RunSpecification

__all__ = ["Plan", "SiteData"]


@dataclass(frozen=True)
class Plan:
    """What coordinator and sites share in a run, for every method.

    Attributes:
        spec: the run's specification.
        participants: ids, in the order in which replies are summed.
        dim: D.
        roles: meaning of the features' numbers.
    """

    spec: RunSpecification
    participants: tuple[str, ...]
    dim: int
    roles: Roles = field(default_factory=Roles)

    @classmethod
    def of(cls, spec: RunSpecification, participants: Sequence[str], features: Mapping[str, Any]) -> Plan:
        """The plan over features as :func:`~clap_vad.features.store.description.describe` describes them."""
        roles = roles_of(features["extractor"], features["settings"])
        return cls(spec, tuple(participants), features["dim"], roles)

    @cached_property
    def strategy(self) -> Strategy:
        """How updates are aggregated, and what is added to local training."""
        return make_strategy(self.spec.strategy, self.spec.strategy_options)

    def drawn(self, number: int) -> tuple[str, ...] | None:
        """The participants of a round under partial participation, in their order; None for all."""
        return self.spec.drawn(self.participants, number)

    def having(self, **options: Any) -> Plan:
        """The same plan with other options of the run."""
        return replace(self, spec=replace(self.spec, **options))


@dataclass(frozen=True)
class SiteData:
    """The data of one participant.

    Attributes:
        participant: its id.
        store: features.
        entries: its training videos, in the order of its file.
        scenes: of the videos, "" for none; a site's personalised models are per scene.
        labels: per video 0, 1 or None without a label; without supervision all None, and no label is read.
    """

    participant: str
    store: FeatureStore
    entries: Sequence[VideoIndex]
    labels: Sequence[int | None]
    scenes: Sequence[str]
