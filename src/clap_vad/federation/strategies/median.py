"""Coordinate-wise median (Yin et al. 2018, algorithm 1, option I): tolerates any minority of malicious participants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.aggregation.average import moved
from ...core.aggregation.robust import coordinate_median
from ...detector.network import Weights
from ..ask import State
from ..strategy import STRATEGIES, Contribution, Strategy

__all__ = ["Median"]


@STRATEGIES.register("median")
@dataclass(frozen=True)
class Median(Strategy):
    """``w <- w + median of the updates``, every coordinate by itself, over the participants that trained.

    Counts are not used as weights: a malicious participant could report a false one. So for honest participants of
    unequal size the result differs from FedAvg's. A round without any training leaves w as it is.
    """

    needs_each: ClassVar[bool] = True

    def combine(self, updates: Sequence[Mapping[str, np.ndarray]]) -> Weights:
        """One update from those of the participants that trained (at least one)."""
        return coordinate_median(updates)

    def aggregate(
        self, weights: Mapping[str, np.ndarray], contributions: Sequence[Contribution], state: State, total: int
    ) -> Weights:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        updates = [contribution.update for contribution in contributions if contribution.count > 0]
        return moved(weights, self.combine(updates)) if updates else dict(weights)
