"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates, weighted by segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.aggregation.average import moved, weighted_mean
from ...detector.network import Weights
from ..ask import State
from ..strategy import STRATEGIES, Contribution, Strategy

__all__ = ["FedAvg"]


@STRATEGIES.register("fedavg")
@dataclass(frozen=True)
class FedAvg(Strategy):
    """``w <- w + sum_p (n_p / N) (w_p - w)``; a round without any training leaves w as it is."""

    def aggregate(
        self, weights: Mapping[str, np.ndarray], contributions: Sequence[Contribution], state: State, total: int
    ) -> Weights:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        counts = [contribution.count for contribution in contributions]
        if sum(counts) == 0:
            return dict(weights)
        mean = weighted_mean([contribution.update for contribution in contributions], counts)
        return self.step(weights, mean, state)

    def step(self, weights: Mapping[str, np.ndarray], mean: Mapping[str, np.ndarray], state: State) -> Weights:
        """The coordinator's step from the mean update; ``state`` as for :meth:`aggregate`."""
        return moved(weights, mean)
