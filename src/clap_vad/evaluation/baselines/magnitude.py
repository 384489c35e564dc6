"""Baseline: the magnitude of a segment, on which CLAP's first stage is based, without learning."""

from __future__ import annotations

import numpy as np

from ...core.pseudo_labels.magnitude import magnitudes
from ..baseline import BASELINES, Block, SegmentScorer, TrainingSample

__all__ = ["magnitude"]


@BASELINES.register("magnitude")
def magnitude(sample: TrainingSample) -> SegmentScorer:
    """``m[t] = mean_c sum_d x[t,c,d]^2`` over valid regions, 0 if there are none.

    x is standardised if the store requires it (own extractors), otherwise raw (I3D, whose norms carry the signal).
    """

    def score(block: Block) -> np.ndarray:
        return magnitudes(block.standardised if sample.standardise else block.raw, block.valid)

    return score
