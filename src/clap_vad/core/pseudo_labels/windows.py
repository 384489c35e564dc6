"""Windows of largest total variation: pseudo-labels and their refinement (CLAP sections 3.2 and 3.4)."""

from __future__ import annotations

import numpy as np

__all__ = ["LABEL_SHARE", "SHORT_VIDEOS", "refine", "variation_window", "window_labels"]

SHORT_VIDEOS = ("extreme", "release")
LABEL_SHARE = 0.2
"""Share of an anomalous video that its pseudo-label marks, in the paper and in C2FPL."""


def variation_window(series: np.ndarray, width: int) -> int:
    """Start of the window of ``width`` consecutive segments with the largest total variation.

    Total variation is ``sum |s[i+1] - s[i]|`` over the ``width - 1`` steps inside the window. On ties the first window
    is returned.

    Args:
        series: (T,) float64.
        width: 2 <= width <= T.

    >>> variation_window(np.array([0.0, 0.0, 5.0, 0.0, 0.0]), 3)
    1
    """
    steps = np.abs(np.diff(series))
    # Each window is summed separately: differences of a running sum would break exact ties by rounding.
    sums = np.lib.stride_tricks.sliding_window_view(steps, width - 1).sum(axis=1)
    return int(np.argmax(sums))


def window_labels(series: np.ndarray, share: float, extreme: str, short_videos: str = "extreme") -> np.ndarray:
    """Label 1 on the window of ``int(share * T)`` segments with the largest variation, 0 elsewhere.

    Args:
        series: (T,) density or scores along the video.
        share: share of the video that is labelled, 0.2 for pseudo-labels and 0.1 for refinement.
        extreme: ``low`` or ``high``, which values are suspicious (``low`` for a density).
        short_videos: rule for windows of fewer than two segments, which have no variation. ``extreme`` labels the most
            suspicious segment; ``release`` labels segment 0 for a window of one segment and nothing for an empty one.

    Returns:
        (T,) float32 of 0 and 1.

    >>> window_labels(np.array([0.0, 0, 0, 5, 0, 0, 0, 0, 0, 0]), 0.2, "low").tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    labels = np.zeros(len(series), dtype=np.float32)
    width = int(share * len(series))
    if width >= 2:
        start = variation_window(series, width)
        labels[start : start + width] = 1
    elif short_videos == "extreme":
        labels[int(np.argmin(series) if extreme == "low" else np.argmax(series))] = 1
    elif width == 1:
        labels[0] = 1
    return labels


def refine(labels: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Refinement by local feedback of one video's labels (CLAP section 3.4).

    Args:
        labels: (T,) current labels in [0, 1].
        window: (T,) 0/1, the window of largest variation of the detector's scores.

    Returns:
        (T,) float32. If the window overlaps the labels above 0.5 (IoU >= 0.05), the average of both; otherwise 1 on
        every segment that is in the window or has an old label above 0.

    >>> refine(np.array([1.0, 1, 0, 0]), np.array([0.0, 1, 0, 0])).tolist()
    [0.5, 1.0, 0.0, 0.0]
    >>> refine(np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 0, 1])).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    old, new = labels > 0.5, window > 0.5
    union = int((old | new).sum())
    iou = int((old & new).sum()) / union if union else 0.0
    if iou < 0.05:
        return ((labels > 0) | new).astype(np.float32)
    return ((labels + window) / 2).astype(np.float32)
