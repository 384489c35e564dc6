"""Exact frame-level metrics from counts per segment, without expanding segments to frames.

All frames of a segment share one score, so frames are ranked as weighted segments: ``positives`` abnormal and
``negatives`` normal frames. Every function takes three arrays ``(scores, positives, negatives)`` of shape (n,); the
result equals scikit-learn's on the expanded frames, ties included. Labels y per frame are the special case
``(scores, y, 1 - y)``. Weights may be any non-negative numbers.

If the ground truth has only one class, an area is None, never NaN.
"""

from __future__ import annotations

import numpy as np

__all__ = ["average_precision", "pr_auc_trapezoid", "precision_recall_curve", "roc_auc", "roc_curve"]


def roc_auc(scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Area under the ROC curve: the probability that an abnormal frame scores above a normal one; ties count half.

    Args:
        scores: (n,) finite; higher is more anomalous.
        positives, negatives: (n,) abnormal and normal frames that have each score.

    Returns:
        0..1, or None if there is no abnormal or no normal frame.

    Raises:
        ValueError: arrays of unequal shape, scores that are not finite, negative counts.

    >>> roc_auc(np.array([0.9, 0.5, 0.1]), np.array([8, 4, 0]), np.array([8, 12, 16]))  # 344 of 432 pairs
    0.7962962962962963
    """
    _, true, false = _cumulative(scores, positives, negatives)
    if not true[-1] or not false[-1]:
        return None
    area = _trapezoid(np.append(0.0, false), np.append(0.0, true))
    return _clip(area / float(true[-1] * false[-1]))


def average_precision(scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Average precision as a sum of steps, ``sum_n (R_n - R_{n-1}) P_n`` (scikit-learn's definition).

    Args, errors: as :func:`roc_auc`. Returns 0..1, or None if there is no abnormal frame.

    >>> average_precision(np.array([0.9, 0.1]), np.array([16, 0]), np.array([0, 16]))
    1.0
    """
    _, true, false = _cumulative(scores, positives, negatives)
    if not true[-1]:
        return None
    precision = _precision(true, false)
    return _clip(float(np.sum(np.diff(true, prepend=0.0) * precision) / true[-1]))


def pr_auc_trapezoid(scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """Area under the precision-recall curve by the trapezoidal rule, the "AP" of the released C2FPL and CLAP code.

    Linear interpolation overestimates the area, so results report :func:`average_precision`.
    Args, errors: as :func:`roc_auc`. Returns 0..1, or None if there is no abnormal frame.

    >>> pr_auc_trapezoid(np.array([0.9, 0.5]), np.array([1, 1]), np.array([0, 2]))
    0.875
    """
    _, true, false = _cumulative(scores, positives, negatives)
    if not true[-1]:
        return None
    precision, recall = np.append(1.0, _precision(true, false)), np.append(0.0, true) / true[-1]
    return _clip(_trapezoid(recall, precision))


def roc_curve(
    scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve: one point per distinct score, after the origin (threshold infinity).

    Args: as :func:`roc_auc`.

    Returns:
        ``(false positive rate, true positive rate, thresholds)``, each (m + 1,), thresholds descending: a frame is
        predicted abnormal if its score is at least the threshold.

    Raises:
        ValueError: as :func:`roc_auc`, and if there is no abnormal or no normal frame.

    >>> roc_curve(np.array([0.9, 0.1]), np.array([16, 0]), np.array([0, 16]))
    (array([0., 0., 1.]), array([0., 1., 1.]), array([inf, 0.9, 0.1]))
    """
    thresholds, true, false = _cumulative(scores, positives, negatives)
    if not true[-1] or not false[-1]:
        raise ValueError("a ROC curve needs abnormal and normal frames")
    fpr, tpr = np.append(0.0, false) / false[-1], np.append(0.0, true) / true[-1]
    return fpr, tpr, np.append(np.inf, thresholds)


def precision_recall_curve(
    scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The precision-recall curve: one point per distinct score, thresholds ascending, then the point (1, 0).

    Args: as :func:`roc_auc`.

    Returns:
        ``(precision (m + 1,), recall (m + 1,), thresholds (m,))``, in scikit-learn's order.

    Raises:
        ValueError: as :func:`roc_auc`, and if there is no abnormal frame.

    >>> precision_recall_curve(np.array([0.9, 0.1]), np.array([16, 0]), np.array([0, 16]))
    (array([0.5, 1. , 1. ]), array([1., 1., 0.]), array([0.1, 0.9]))
    """
    thresholds, true, false = _cumulative(scores, positives, negatives)
    if not true[-1]:
        raise ValueError("a precision-recall curve needs abnormal frames")
    return np.append(_precision(true, false)[::-1], 1.0), np.append(true[::-1] / true[-1], 0.0), thresholds[::-1]


def _cumulative(
    scores: np.ndarray, positives: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, descending, and the abnormal and normal frames that score at least as high (float64).

    float64 holds counts exactly up to 2**53 frames. Scores without frames are left out.
    """
    scores = np.asarray(scores)
    if scores.dtype.kind in "biu":
        scores = scores.astype(np.float64)
    weights = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if scores.ndim != 1 or any(w.shape != scores.shape for w in weights):
        raise ValueError(
            f"scores {scores.shape} and counts {[w.shape for w in weights]} must be one-dimensional and equally long"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity")
    if not all(np.isfinite(w).all() and (w >= 0).all() for w in weights):
        raise ValueError("counts must be finite and not negative")
    present = weights[0] + weights[1] > 0
    order = np.argsort(-scores[present], kind="stable")
    ranked = scores[present][order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if ranked.size else np.zeros(0, np.int64)
    true, false = (np.cumsum(w[present][order])[last] for w in weights)
    if not last.size:
        return ranked, np.zeros(1), np.zeros(1)
    return ranked[last], true, false


def _precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    return true / (true + false)


def _trapezoid(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


def _clip(area: float) -> float:
    # Rounding may lift a perfect ranking a few ulps above 1.
    return min(max(area, 0.0), 1.0)
