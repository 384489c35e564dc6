"""Federated evaluation: metrics from summed histograms of frames; no single score leaves its site."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.evaluation.metrics import average_precision, roc_auc

__all__ = ["evaluate_histograms"]


def evaluate_histograms(normal: np.ndarray, abnormal: np.ndarray) -> dict[str, Any]:
    """Frame-level metrics of a model; scores within a bin count as equal.

    Args:
        normal, abnormal: (BINS,) int64, frames of each kind per bin of
            :func:`~clap_vad.core.statistics.histogram.score_histogram`.

    Returns:
        ``frame_auc`` and ``frame_ap``, 0..1 or None if no site has frames of one kind, with the reason in
        ``undefined``; ``frames``, ``abnormal_frames``.

    >>> found = evaluate_histograms(np.array([3, 1, 0]), np.array([0, 1, 1]))
    >>> found["frame_auc"], found["frames"]
    (0.9375, 6)
    """
    bins = np.arange(len(normal), dtype=np.float64)
    frames, positives = int(normal.sum() + abnormal.sum()), int(abnormal.sum())
    kinds = [kind for kind, counted in (("normal", normal), ("abnormal", abnormal)) if not counted.sum()]
    return {
        "frame_auc": roc_auc(bins, abnormal, normal),
        "frame_ap": average_precision(bins, abnormal, normal),
        "undefined": f"the sites have no {' and no '.join(kinds)} test frames with ground truth" if kinds else None,
        "frames": frames,
        "abnormal_frames": positives,
        "evaluation": "summed histograms of the sites",
    }
