"""FedYogi (Reddi et al. 2021, "Adaptive federated optimization", algorithm 2): Yogi at the coordinator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.aggregation.server_optimiser import yogi_second_moment
from ..strategy import STRATEGIES
from .fedadam import FedAdam

__all__ = ["FedYogi"]


@STRATEGIES.register("fedyogi")
@dataclass(frozen=True)
class FedYogi(FedAdam):
    """FedAdam with ``v <- v - (1 - beta2) d^2 sign(v - d^2)``: after large updates the steps grow again only slowly."""

    def second_moment(self, previous: np.ndarray, update: np.ndarray) -> np.ndarray:
        """See :class:`~clap_vad.federation.strategies.fedadam.FedAdam`."""
        return yogi_second_moment(previous, update, self.beta2)
