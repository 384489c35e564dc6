"""What a run is agreed to be, and what one participant brings to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..features.store import FeatureStore, VideoIndex

__all__ = ["Plan", "SiteData"]


@dataclass(frozen=True)
class Plan:
    """What coordinator and sites agree on before a run, whatever the method.

    Attributes:
        rounds: rounds of federated training.
        seed: of the run.
        normalise: ``none`` or ``federated``.
        supervision: ``us`` or ``ws``.
        threads: processor threads of a site's step; part of a result's identity.
        dim: D.
    """

    rounds: int
    seed: int
    normalise: str
    supervision: str
    threads: int
    dim: int


@dataclass(frozen=True)
class SiteData:
    """What one participant holds.

    Attributes:
        participant: its id.
        store: features.
        entries: its training videos, in the order of its file.
        labels: 0/1 per video under weak supervision, None otherwise: then no label has even been read.
    """

    participant: str
    store: FeatureStore
    entries: Sequence[VideoIndex]
    labels: Sequence[int] | None
