"""FedAvgM (Hsu, Qi and Brown 2019): FedAvg with momentum at the coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.aggregation.average import moved
from ...core.aggregation.server_optimiser import velocity
from ...detector.network import Weights
from ...errors import ClapError
from ...settings import option
from ..ask import State
from ..strategy import STRATEGIES
from .fedavg import FedAvg

__all__ = ["FedAvgM"]

_VELOCITY = "strategy.velocity."


@STRATEGIES.register("fedavgm")
@dataclass(frozen=True)
class FedAvgM(FedAvg):
    """``v <- server_momentum v + mean update``, ``w <- w + server_lr v``; v is zero at first.

    A constant update finally goes 1 / (1 - server_momentum) times as far as in FedAvg; if that is too far, lower the
    server's or the sites' learning rate. A round without any training leaves w and v as they are.
    """

    server_lr: float = option(1.0, "Learning rate of the coordinator's step.")
    server_momentum: float = option(0.9, "Momentum of the coordinator's step.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.server_lr <= 0:
            raise ClapError(f"--server-lr is {self.server_lr}; a number above 0 is needed")
        if not 0 <= self.server_momentum < 1:
            raise ClapError(f"--server-momentum is {self.server_momentum}; a number from 0 to below 1 is needed")

    def step(self, weights: Mapping[str, np.ndarray], mean: Mapping[str, np.ndarray], state: State) -> Weights:
        """See :class:`~clap_vad.federation.strategies.fedavg.FedAvg`."""
        velocities = {}
        for name, update in mean.items():
            previous = state.get(_VELOCITY + name, np.zeros_like(update))
            velocities[name] = state[_VELOCITY + name] = velocity(previous, update, self.server_momentum)
        return moved(weights, velocities, self.server_lr)
