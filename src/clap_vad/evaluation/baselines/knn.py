"""Baseline: distance of a segment to the nearest unlabelled training segments."""

from __future__ import annotations

import numpy as np

from ...core.pseudo_labels.magnitude import region_mean
from ..baseline import BASELINES, Block, SegmentScorer, TrainingSample

__all__ = ["knn"]

NEIGHBOURS = 5
_CANDIDATES = 2 * NEIGHBOURS
_ROWS = 256


@BASELINES.register("knn")
def knn(sample: TrainingSample) -> SegmentScorer:
    """Mean Euclidean distance to the 5 nearest sampled training segments, on standardised averages over regions.

    Candidates are found by a float32 matrix product; their distances are then computed term by term, so that a segment
    in the training set has distance 0 to itself, and rounding only affects the choice between equally near neighbours.
    """
    rows = sample.rows
    squares = np.vecdot(rows, rows)
    candidates, neighbours = min(_CANDIDATES, len(rows)), min(NEIGHBOURS, len(rows))

    def distances(queries: np.ndarray) -> np.ndarray:
        apart = queries @ rows.T  # becomes |r|^2 - 2 q.r, the squared distance without |q|^2
        apart *= -2
        apart += squares
        nearest = np.argpartition(apart, candidates - 1, axis=1)[:, :candidates]
        difference = rows[nearest] - queries[:, None]
        exact = np.sqrt(np.vecdot(difference, difference))
        return np.partition(exact, neighbours - 1, axis=1)[:, :neighbours].mean(axis=1)

    def score(block: Block) -> np.ndarray:
        queries = region_mean(block.standardised, block.valid)
        return np.concatenate([distances(queries[i : i + _ROWS]) for i in range(0, len(queries), _ROWS)])

    return score
