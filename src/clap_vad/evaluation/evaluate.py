"""Frame-level results of scores on a dataset's test videos, over all frames (micro) and per scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.evaluation.metrics import average_precision, pr_auc_trapezoid, roc_auc
from ..datasets.dataset import Dataset
from ..errors import ClapError
from .counts import FrameCounts, count_frames
from .spread import mean_and_std

__all__ = ["evaluate_counts", "evaluate_participants", "evaluate_scores", "mean_over_participants"]

METRICS = ("frame_auc", "frame_ap", "frame_ap_trapezoid")


def evaluate_scores(dataset: Dataset, scores: Mapping[str, np.ndarray], origin: str = "scores") -> dict[str, Any]:
    """Frame-level ROC-AUC and average precision of one model.

    Args:
        dataset: provides test videos and frame truth; labels of test videos are used as truth for normal videos only.
        scores: video -> (T,) one finite score per segment; an open ``.npz`` is read video by video.
        origin: source of the scores, for error messages.

    Returns:
        As :func:`evaluate_counts`.

    Raises:
        ClapError: as :func:`~clap_vad.evaluation.counts.count_frames`.
    """
    return evaluate_counts(count_frames(dataset, scores, origin))


def evaluate_counts(counts: FrameCounts) -> dict[str, Any]:
    """The metrics of a test set.

    Returns:
        A JSON-able dict: ``frame_auc``, ``frame_ap`` (step-wise), ``frame_ap_trapezoid`` (as in released code), each
        0..1 or None if the ground truth does not define it, with the reason in ``undefined`` (None otherwise);
        evaluated ``videos``, ``frames``, ``abnormal_frames``; ``cut_frames`` and ``held_frames`` if features and truth
        differ in length; ``videos_without_truth`` by name; ``per_scene`` {scene: {videos, frames, abnormal_frames,
        frame_auc, frame_ap}}.
    """
    sample = counts.arrays()
    per_scene = {}
    for scene, part in counts.scenes().items():
        of_scene = part.arrays()
        sizes = _sizes(part)
        per_scene[scene] = {**sizes, "frame_auc": roc_auc(*of_scene), "frame_ap": average_precision(*of_scene)}
    return {
        "frame_auc": roc_auc(*sample),
        "frame_ap": average_precision(*sample),
        "frame_ap_trapezoid": pr_auc_trapezoid(*sample),
        "undefined": _undefined(counts),
        **_sizes(counts),
        "cut_frames": sum(v.cut for v in counts.videos),
        "held_frames": sum(v.held for v in counts.videos),
        "videos_without_truth": list(counts.without_truth),
        "per_scene": per_scene,
    }


def evaluate_participants(dataset: Dataset, scores: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Results in setting local: every participant's own model on the common test set, and their mean.

    Args:
        dataset: the common test set.
        scores: participant -> its model's scores, as in :func:`evaluate_scores`; participants are read in turn.

    Returns:
        As :func:`mean_over_participants`.
    """
    return mean_over_participants(
        {participant: evaluate_scores(dataset, own, f"scores of {participant}") for participant, own in scores.items()}
    )


def mean_over_participants(results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean over participants of the results of :func:`evaluate_counts` on the same test set.

    Returns:
        The same keys, with metrics averaged over participants, and ``frame_auc_std``, ``frame_ap_std`` (n - 1 in the
        denominator, None for a single participant) and ``per_participant`` {id: {frame_auc, frame_ap}}.

    Raises:
        ClapError: there are no participants.
    """
    if not results:
        raise ClapError("no participants to average over; train with --setting local first")
    rows = list(results.values())
    mean = {metric: _mean(rows, metric) for metric in METRICS}
    spread = {f"{metric}_std": mean_and_std([row[metric] for row in rows])[1] for metric in METRICS[:2]}
    per_scene = {
        scene: {**sizes, **{m: _mean([row["per_scene"][scene] for row in rows], m) for m in METRICS[:2]}}
        for scene, sizes in rows[0]["per_scene"].items()
    }
    each = {name: {metric: row[metric] for metric in METRICS[:2]} for name, row in results.items()}
    return {**rows[0], **mean, **spread, "per_scene": per_scene, "per_participant": each}


def _mean(rows: Sequence[dict[str, Any]], metric: str) -> float | None:
    return mean_and_std([row[metric] for row in rows])[0]


def _sizes(counts: FrameCounts) -> dict[str, int]:
    _, positives, negatives = counts.arrays()
    abnormal = int(positives.sum())
    return {
        "videos": len(counts.videos),
        "frames": abnormal + int(negatives.sum()),
        "abnormal_frames": abnormal,
    }


def _undefined(counts: FrameCounts) -> str | None:
    """The reason why a metric is None; None if all are defined."""
    if not counts.videos and not counts.without_truth:
        return "the dataset has no test videos"
    if not counts.videos:
        return "no test video has frame truth (frame_labels.npz, or label 0 for a normal video)"
    sizes = _sizes(counts)
    if not sizes["abnormal_frames"]:
        return "the ground truth has normal frames only"
    if sizes["abnormal_frames"] == sizes["frames"]:
        return "the ground truth has abnormal frames only, so there is no ROC curve"
    return None
