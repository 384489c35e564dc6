"""C2FPL: segregation of anomalous videos (coarse stage) and p-values (fine stage) (WACV 2024, section 3)."""

from __future__ import annotations

import numpy as np

from .mixture import two_components

__all__ = ["ANOMALOUS_CLUSTER", "coarse_anomalous_videos", "magnitude_summary", "p_values"]

ANOMALOUS_CLUSTER = ("smaller", "component-1")
_MOVED_PERCENT = 3


def magnitude_summary(m: np.ndarray) -> np.ndarray:
    """(2,) mean and variance (ddof 1) of a video's magnitudes; variance 0 for one segment.

    >>> magnitude_summary(np.array([1.0, 3.0])).tolist()
    [2.0, 2.0]
    """
    return np.array([m.mean(), m.var(ddof=1) if len(m) > 1 else 0.0])


def coarse_anomalous_videos(summaries: np.ndarray, eta: float = 1.0, anomalous_cluster: str = "smaller") -> np.ndarray:
    """Anomalous videos: a mixture splits the videos, then the least likely normal ones are moved.

    scikit-learn's mixture with two spherical components, at most 150 EM steps, always seed 0. While there are fewer
    than ``eta`` anomalous videos per normal one, the mixture is refitted to the normal videos, and those below the
    third percentile of its likelihood, at least one, become anomalous.

    Args:
        summaries: (V, 2) float64, one row per video, in the order of the participant's file.
        eta: ratio of anomalous to normal videos; 0 keeps the first split. One video always stays normal.
        anomalous_cluster: ``smaller``: the smaller cluster is anomalous (paper), component 1 on ties;
            ``component-1``: component 1 is anomalous (released code).

    Returns:
        (V,) bool. A single video cannot be split and is labelled normal.

    >>> calm = np.stack([np.linspace(1, 2, 6), np.linspace(0, 0.1, 6)], axis=1)
    >>> coarse_anomalous_videos(np.vstack([calm, [[9.0, 5.0]]]), eta=0.1).tolist()
    [False, False, False, False, False, False, True]
    """
    anomalous = np.zeros(len(summaries), dtype=bool)
    if len(summaries) < 2:
        return anomalous
    cluster, _ = two_components(summaries, "spherical")
    chosen = 1
    if anomalous_cluster == "smaller" and (cluster == 0).sum() < (cluster == 1).sum():
        chosen = 0
    if (cluster == chosen).all():  # the videos hardly differ
        chosen = 1 - chosen
    anomalous = cluster == chosen
    while (~anomalous).sum() > 1 and anomalous.sum() < eta * (~anomalous).sum():
        bag = np.flatnonzero(~anomalous)
        # Rounded, so that the first of equally likely videos moves, independent of the last bit.
        likelihood = two_components(summaries[bag], "spherical")[1].round(6)
        moved = likelihood < np.percentile(likelihood, _MOVED_PERCENT)
        moved[np.argmin(likelihood)] = True  # if all are equal, none lies below the percentile
        anomalous[bag[moved]] = True
    return anomalous


def p_values(m: np.ndarray, count: float, mean: float, variance: float) -> np.ndarray:
    """Two-sided p-values of magnitudes under the Gaussian of the normal segments.

    Args:
        m: (T,) magnitudes.
        count, mean, variance: moments of the normal segments; a variance of zero is widened as in ``common_density``.

    Returns:
        (T,) float64 in [0, 1]; without normal segments (count 0) the magnitudes, as in ``common_density``.

    >>> p_values(np.array([0.0, 1.959964]), 5, 0.0, 1.0).round(4).tolist()
    [1.0, 0.05]
    """
    if count == 0:
        return m.astype(np.float64)
    from scipy.special import erfc

    deviation = np.sqrt(max(variance, 1e-6 * mean * mean + 1e-12))
    tails: np.ndarray = erfc(np.abs(m - mean) / (deviation * np.sqrt(2)))
    return tails
