"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates, weighted by segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.aggregation import weighted_mean
from ..strategy import STRATEGIES

__all__ = ["FedAvg"]


@STRATEGIES.register("fedavg")
class FedAvg:
    """``w <- w + sum_p (n_p / N) (w_p - w)``; a round in which nobody could train leaves w as it is."""

    def aggregate(
        self,
        weights: Mapping[str, np.ndarray],
        updates: Sequence[Mapping[str, np.ndarray]],
        counts: Sequence[int],
    ) -> dict[str, np.ndarray]:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        if sum(counts) == 0:
            return dict(weights)
        mean = weighted_mean(updates, counts)
        return {name: (value + mean[name]).astype(np.float32) for name, value in weights.items()}
