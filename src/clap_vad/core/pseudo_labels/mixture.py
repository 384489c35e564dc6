"""Two-component mixture that separates videos, and the common density of normal magnitudes."""

from __future__ import annotations

import warnings

import numpy as np

__all__ = [
    "NORMAL_CLUSTER",
    "anomalous_videos",
    "common_density",
    "normal_gaussian",
    "pooled_gaussian",
    "two_components",
]

NORMAL_CLUSTER = ("size", "calm")
_MAX_EM_STEPS = 150


def anomalous_videos(summaries: np.ndarray, normal_cluster: str = "size") -> np.ndarray:
    """Anomalous videos according to a two-component Gaussian mixture.

    scikit-learn's mixture, full covariance, at most 150 EM steps, always seed 0.

    Args:
        summaries: (V, 2) float64, one row per video, in the order of the participant's file.
        normal_cluster: ``size``: the larger cluster is normal, component 1 on ties (released code); ``calm``: the
            cluster with the smaller mean largest rise is normal, which also works if most videos are anomalous.

    Returns:
        (V,) bool. A single video cannot be split and is labelled normal.

    >>> anomalous_videos(np.array([[0.0, 0.0], [0.1, 0.1], [0.0, 0.1], [9.0, 9.0]])).tolist()
    [False, False, False, True]
    """
    if len(summaries) < 2:
        return np.zeros(len(summaries), dtype=bool)
    cluster, _ = two_components(summaries, "full")
    if normal_cluster == "calm" and 0 < cluster.sum() < len(cluster):
        normal = int(summaries[cluster == 1, 0].mean() < summaries[cluster == 0, 0].mean())
    else:
        normal = 0 if (cluster == 0).sum() > (cluster == 1).sum() else 1
    return np.asarray(cluster != normal)


def two_components(rows: np.ndarray, covariance: str) -> tuple[np.ndarray, np.ndarray]:
    """Component and log likelihood of each row under scikit-learn's two-component mixture of these rows.

    If the covariance of very large rows cannot be inverted in float64, the rows are rescaled first: the components stay
    the same, and all likelihoods shift by the same constant.

    Args:
        rows: (V, 2) float64, finite.
        covariance: scikit-learn's ``covariance_type``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    def fit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mixture = GaussianMixture(2, covariance_type=covariance, max_iter=_MAX_EM_STEPS, random_state=0)
        with warnings.catch_warnings():
            # Fewer distinct videos than components, or no convergence in 150 steps: both are expected.
            warnings.simplefilter("ignore", ConvergenceWarning)
            cluster = mixture.fit_predict(values)
        return cluster, mixture.score_samples(values)

    try:
        return fit(rows)
    except ValueError:
        spread = rows.std(axis=0)
        spread = spread if covariance == "full" else spread.max()
        return fit((rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def normal_gaussian(m: np.ndarray) -> tuple[int, float, float]:
    """Count, mean and variance (ddof 1) of the magnitudes of a participant's normal segments.

    >>> normal_gaussian(np.array([1.0, 3.0]))
    (2, 2.0, 2.0)
    """
    if len(m) == 0:
        return 0, 0.0, 0.0
    return len(m), float(m.mean()), float(m.var(ddof=1)) if len(m) > 1 else 0.0


def pooled_gaussian(count: float, total: float, squares: float) -> tuple[float, float, float]:
    """The same triple from summed count, sum and sum of squares over all participants."""
    if count == 0:
        return 0.0, 0.0, 0.0
    mean = total / count
    return count, mean, max(squares - count * mean * mean, 0.0) / max(count - 1, 1)


def common_density(m: np.ndarray, gaussians: np.ndarray) -> np.ndarray:
    """``q(m) = sum_p (n_p / N) N(m; mu_p, var_p)``, the common density of all participants.

    Args:
        m: (T,) magnitudes.
        gaussians: (P, 3) rows (n_p, mu_p, var_p); rows with n_p = 0 are ignored. A variance of zero (one segment, or
            identical ones) is widened to 1e-6 of the squared mean, so that q stays finite.

    Returns:
        (T,) float64. If no participant has a normal segment (N = 0) there is no density: the magnitudes are returned,
        so that the window of largest variation is still defined.
    """
    known = gaussians[gaussians[:, 0] > 0]
    if len(known) == 0:
        return m.astype(np.float64)
    n, mean, variance = known.T
    variance = np.maximum(variance, 1e-6 * np.square(mean) + 1e-12)
    q = np.zeros(len(m))
    for weight, mu, var in zip(n / n.sum(), mean, variance, strict=True):
        q += weight * np.exp(-np.square(m - mu) / (2 * var)) / np.sqrt(2 * np.pi * var)
    return q
