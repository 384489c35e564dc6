"""Coordinate-wise trimmed mean (Yin et al. 2018, algorithm 1, option II)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.aggregation.robust import malicious_count, trimmed_mean
from ...detector.network import Weights
from ...errors import ClapError
from ...settings import option
from ..strategy import STRATEGIES
from .median import Median

__all__ = ["TrimmedMean"]


@STRATEGIES.register("trimmed-mean")
@dataclass(frozen=True)
class TrimmedMean(Median):
    """As :class:`~clap_vad.federation.strategies.median.Median`, with the mean of what the f largest and the f smallest
    values of a coordinate leave, where f is ``malicious_share`` of the n participants that trained, rounded down.

    n > 2 f holds by itself. f is 0 where n is below 1 / ``malicious_share``: then nothing is trimmed.
    """

    malicious_share: float = option(0.2, "Share of a round's participants that may be malicious, below 0.5.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.malicious_share < 0.5:
            raise ClapError(f"--malicious-share is {self.malicious_share}; a number from 0 to below 0.5 is needed")

    def combine(self, updates: Sequence[Mapping[str, np.ndarray]]) -> Weights:
        """See :class:`~clap_vad.federation.strategies.median.Median`."""
        return trimmed_mean(updates, malicious_count(self.malicious_share, len(updates)))
