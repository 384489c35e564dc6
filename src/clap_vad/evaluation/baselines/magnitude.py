"""Baseline: the magnitude of a segment, the quantity CLAP's first stage is built on, with nothing learned."""

from __future__ import annotations

import numpy as np

from ...core.pseudo_labels.magnitude import magnitudes
from ..baseline import BASELINES, Block, SegmentScorer, TrainingSample

__all__ = ["magnitude"]


@BASELINES.register("magnitude")
def magnitude(sample: TrainingSample) -> SegmentScorer:
    """``m[t] = mean_c sum_d x[t,c,d]^2`` over the crops present, 0 where there is none.

    x is standardised where the store says its features need it (own extractors), raw elsewhere (I3D, whose norms carry
    the signal).
    """

    def score(block: Block) -> np.ndarray:
        return magnitudes(block.standardised if sample.standardise else block.raw, block.valid)

    return score
