"""A model's scores of a dataset's videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.moments import Normaliser
from ..datasets.dataset import Dataset
from ..detector.scoring import score_videos

__all__ = ["score_dataset", "score_test_videos"]


def score_test_videos(
    dataset: Dataset, weights: Mapping[str, np.ndarray], normaliser: Normaliser | None, threads: int
) -> dict[str, np.ndarray]:
    """:func:`score_dataset` of the test videos."""
    return score_dataset(dataset, dataset.test_videos, weights, normaliser, threads)


def score_dataset(
    dataset: Dataset,
    videos: Sequence[str],
    weights: Mapping[str, np.ndarray],
    normaliser: Normaliser | None,
    threads: int,
) -> dict[str, np.ndarray]:
    """Video -> (T,) float32 scores of its segments, store by store in bounded memory."""
    scores: dict[str, np.ndarray] = {}
    for store, entries in dataset.by_store(videos):
        found = score_videos(weights, store, entries, normaliser, threads)
        scores |= {entry.video: own for entry, own in zip(entries, found, strict=True)}
    return scores
