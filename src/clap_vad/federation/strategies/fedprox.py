"""FedProx (Li et al. 2020, algorithm 2): FedAvg with local steps that are held near the global model."""

from __future__ import annotations

from dataclasses import dataclass

from ...detector.drift import Correction
from ...errors import ClapError
from ...settings import option
from ..ask import State
from ..messages import Message
from ..strategy import STRATEGIES
from .fedavg import FedAvg

__all__ = ["FedProx"]


@STRATEGIES.register("fedprox")
@dataclass(frozen=True)
class FedProx(FedAvg):
    """Each site minimises its loss plus ``(mu / 2) |w - w_global|^2``; updates are averaged as in FedAvg."""

    mu: float = option(1.0, "Weight of the proximal term. The CLAP release has 1; 0.01 to 1 is usual.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mu < 0:
            raise ClapError(f"--mu is {self.mu}; a number from 0 is needed")

    def correction(self, payload: Message, state: State) -> Correction:
        """See :class:`~clap_vad.federation.strategy.Strategy`."""
        return Correction(proximal=self.mu)
