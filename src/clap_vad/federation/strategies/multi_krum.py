"""Multi-Krum (Blanchard et al. 2017): the mean of the updates that have the nearest neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.aggregation.average import weighted_mean
from ...core.aggregation.robust import krum_selection, malicious_count
from ...detector.network import Weights
from ...errors import ClapError
from ..strategy import STRATEGIES
from .trimmed_mean import TrimmedMean

__all__ = ["MultiKrum"]


@STRATEGIES.register("multi-krum")
@dataclass(frozen=True)
class MultiKrum(TrimmedMean):
    """As :class:`~clap_vad.federation.strategies.trimmed_mean.TrimmedMean`, with the mean of the m updates that have
    the best Krum scores; needs n >= 2 f + 3 participants that trained.

    The paper leaves m open between 1 (Krum) and n (no protection). m = n - f - 2 is the largest for which its authors
    claim resilience later (Damaskinos et al. 2019, AggregaThor): no more updates are averaged than neighbours are
    compared, so that the chosen updates are near honest ones.
    """

    def combine(self, updates: Sequence[Mapping[str, np.ndarray]]) -> Weights:
        """See :class:`~clap_vad.federation.strategies.median.Median`."""
        n = len(updates)
        f = malicious_count(self.malicious_share, n)
        if n < 2 * f + 3:
            raise ClapError(
                f"--strategy multi-krum needs {2 * f + 3} participants with segments in a round where {f} may be "
                f"malicious (--malicious-share {self.malicious_share:g} of {n}), not {n}; lower --malicious-share, let "
                "more participants take part, or take --strategy trimmed-mean or median"
            )
        chosen = [updates[i] for i in krum_selection(updates, f)]
        return weighted_mean(chosen, [1] * len(chosen))
