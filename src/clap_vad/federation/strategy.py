"""Aggregation strategies: how the participants' updates become the next global model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..registry import Registry

__all__ = ["STRATEGIES", "Strategy"]


class Strategy(Protocol):
    """One rule of aggregation."""

    def aggregate(
        self,
        weights: Mapping[str, np.ndarray],
        updates: Sequence[Mapping[str, np.ndarray]],
        counts: Sequence[int],
    ) -> dict[str, np.ndarray]:
        """The next global model.

        Args:
            weights: the present one.
            updates: per participant, in participant order, local weights minus ``weights``.
            counts: segments each participant trained on.
        """


STRATEGIES: Registry[type[Strategy]] = Registry("strategy", "clap_vad.federation.strategies")
