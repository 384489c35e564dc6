"""A model's scores of a dataset's test videos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.moments import Normaliser
from ..datasets.dataset import Dataset
from ..detector.scoring import score_videos

__all__ = ["score_test_videos"]


def score_test_videos(
    dataset: Dataset, weights: Mapping[str, np.ndarray], normaliser: Normaliser | None, threads: int
) -> dict[str, np.ndarray]:
    """Video -> (T,) float32 scores of its segments, store by store in bounded memory."""
    scores: dict[str, np.ndarray] = {}
    for store, entries in dataset.by_store(dataset.test_videos):
        found = score_videos(weights, store, entries, normaliser, threads)
        scores |= {entry.video: own for entry, own in zip(entries, found, strict=True)}
    return scores
