"""What a coordinator reads from noisy replies, and knows of their noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..federation.ask import Reply, State
from ..federation.coordinator import ANSWERED
from ..protection.session import least_members
from .plan import Plan

__all__ = ["NoisySums"]


class NoisySums:
    """Of a run whose plan has terms of differential privacy.

    Args:
        plan: of the run.
        state: of the coordinator.
    """

    def __init__(self, plan: Plan, state: State) -> None:
        assert plan.privacy is not None
        self._plan, self._terms, self._state = plan, plan.privacy, state

    def total(self, replies: Sequence[Reply]) -> dict[str, np.ndarray]:
        """Sum of the replies in their order, by entry."""
        names = replies[0].message
        return {name: np.sum([np.asarray(reply.message[name]) for reply in replies], axis=0) for name in names}

    def answered(self) -> int:
        """Participants that are in the last sum."""
        return int(self._state.get(ANSWERED, np.ones(len(self._plan.participants))).sum())

    def deviation(self, kind: str = "statistics", participants: int | None = None) -> float:
        """Standard deviation of the noise on each entry of a sum, as it is when nobody has dropped out.

        Args:
            kind: ``statistics`` or ``training``.
            participants: of the sum; those of the last one by default.
        """
        noise = self._terms.noise_training if kind == "training" else self._terms.noise_statistics
        sites = least_members(len(self._plan.participants)) if self._plan.secure else 1
        return noise * math.sqrt((self.answered() if participants is None else participants) / sites)
