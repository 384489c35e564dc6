"""Membership inference: how well a run's model tells the videos it was trained on from others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.rounds import global_weights, normaliser_of
from ..audit.membership import SIGNALS, auc_interval, video_signals
from ..core.moments import Normaliser
from ..datasets.dataset import Dataset
from ..detector.model import Model
from ..detector.network import detector_weights
from ..detector.scoring import score_videos
from .configuration import Opened
from .privacy_replay import Observed

__all__ = ["membership"]


def membership(run: Path, opened: Opened, observed: Observed) -> dict[str, Any]:
    """How well the released model tells videos it was trained on from others."""
    weights, normaliser, finished = _released(run, observed)
    dataset = opened.dataset
    known = [video for video in dataset.train_videos if dataset.videos[video].label != 1]
    others = [video for video in dataset.test_videos if _normal(dataset, video)]
    normal_only = bool(others)
    others = others or list(dataset.test_videos)
    result: dict[str, Any] = {
        "finished_model": finished,
        "members": len(known),
        "others": len(others),
        "others_normal_only": normal_only,
    }
    if not known or not others:
        return result | dict.fromkeys(SIGNALS) | {"meaning": "No videos to compare: the attack was not mounted."}
    told = [
        video_signals(_scores(dataset, videos, weights, normaliser, opened.plan.threads)) for videos in (known, others)
    ]
    areas = {signal: auc_interval(told[0][signal], told[1][signal], opened.plan.seed) for signal in SIGNALS}
    result |= {signal: dict(zip(("auc", "low", "high"), interval, strict=True)) for signal, interval in areas.items()}
    apart = [interval for interval in areas.values() if interval[1] > 0.5]
    meaning = (
        "Training videos can be told from others better than by a coin."
        if apart
        else "These two signals do not tell training videos from others; that proves nothing about better attacks."
    )
    return result | {"meaning": meaning + " Secure aggregation does not change the released model."}


def _released(run: Path, observed: Observed) -> tuple[dict[str, np.ndarray], Normaliser | None, bool]:
    """The model that receivers have: the run's own, or, where it is unfinished, that of the last replayed round."""
    if (run / "model.json").exists():
        model = Model.load(run)
        return model.weights, model.normaliser, True
    return detector_weights(global_weights(observed.state)), normaliser_of(observed.state), False


def _normal(dataset: Dataset, video: str) -> bool:
    truth = dataset.frame_labels(video)
    return truth is not None and not truth.any()


def _scores(
    dataset: Dataset,
    videos: Sequence[str],
    weights: dict[str, np.ndarray],
    normaliser: Normaliser | None,
    threads: int,
) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for store, entries in dataset.by_store(list(videos)):
        found += score_videos(weights, store, entries, normaliser, threads)
    return found
