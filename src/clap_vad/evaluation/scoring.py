"""Scores of a dataset's videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..datasets.dataset import Dataset
from ..detector.personalised import PersonalisedModels

__all__ = ["score_dataset", "score_test_videos"]


def score_test_videos(dataset: Dataset, personalised: PersonalisedModels, threads: int) -> dict[str, np.ndarray]:
    """:func:`score_dataset` for the test videos."""
    return score_dataset(dataset, dataset.test_videos, personalised, threads)


def score_dataset(
    dataset: Dataset, videos: Sequence[str], personalised: PersonalisedModels, threads: int, causal: bool = False
) -> dict[str, np.ndarray]:
    """Video -> (T,) float32 scores of its segments, each video scored by the model for its scene.

    Args:
        dataset: the dataset.
        videos: names of the videos.
        personalised: the models.
        threads: CPU threads.
        causal: use past segments only.
    """
    scores: dict[str, np.ndarray] = {}
    for store, entries in dataset.by_store(videos):
        for model in {id(model): model for model in (personalised.common, *personalised.own.values())}.values():
            own = [entry for entry in entries if personalised.of(dataset.videos[entry.video].scene) is model]
            if own:
                found = model.score_videos(store, own, threads, causal)
                scores |= {entry.video: s for entry, s in zip(own, found, strict=True)}
    return {video: scores[video] for video in videos}
