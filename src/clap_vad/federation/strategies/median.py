"""Coordinate-wise median (Yin et al. 2018, algorithm 1, option I): bears any minority of malicious participants."""

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

    Counts are no weights here: a malicious participant would lie about its own. So with honest participants of unequal
    size the result is not FedAvg's. A round in which nobody could train leaves w as it is.
    """

    needs_each: ClassVar[bool] = True

    def combine(self, updates: Sequence[Mapping[str, np.ndarray]]) -> Weights:
        """One update from those of the participants that trained, at least one."""
        return coordinate_median(updates)

    def aggregate(
        self, weights: Mapping[str, np.ndarray], contributions: Sequence[Contribution], state: State, total: int
    ) -> Weights:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        updates = [contribution.update for contribution in contributions if contribution.count > 0]
        return moved(weights, self.combine(updates)) if updates else dict(weights)
