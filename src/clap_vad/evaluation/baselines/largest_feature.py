"""Baseline: the largest single feature of a segment."""

from __future__ import annotations

import numpy as np

from ..baseline import BASELINES, Block, SegmentScorer, TrainingSample

__all__ = ["largest_feature"]


@BASELINES.register("largest-feature")
def largest_feature(sample: TrainingSample) -> SegmentScorer:
    """``max_{c,d}`` of the standardised features over valid regions; 0, the training mean, if there are none."""

    def score(block: Block) -> np.ndarray:
        per_region = block.standardised.max(axis=2)
        if block.valid is None:
            return per_region.max(axis=1)
        largest = np.where(block.valid, per_region, -np.inf).max(axis=1)
        return np.where(block.valid.any(axis=1), largest, 0.0)

    return score
