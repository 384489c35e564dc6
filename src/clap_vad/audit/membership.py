"""Whether a video was trained on, from what the released model says about it.

Threshold attacks of Yeom et al. 2018 ("Privacy risk in machine learning", section 3): a video is called a member where
the model's loss on it is low.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.metrics import roc_auc
from ..core.randomness import keyed_generator

__all__ = ["SIGNALS", "auc_interval", "video_signals"]

SIGNALS = ("loss", "confidence")
_DRAWS = 1000
_EDGE = 1e-7


def video_signals(scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Per video how much it looks like a member, (V,) float64 each, larger is more.

    ``loss``: minus the mean cross-entropy to the label normal. ``confidence``: minus the mean cross-entropy to the
    nearer label, for a model that was taught labels it made itself.

    Args:
        scores: s[t] of each video.
    """
    loss, confidence = np.zeros(len(scores)), np.zeros(len(scores))
    for video, own in enumerate(scores):
        s = np.clip(np.asarray(own, np.float64), _EDGE, 1 - _EDGE)
        loss[video] = np.log1p(-s).mean()
        confidence[video] = np.maximum(np.log(s), np.log1p(-s)).mean()
    return {"loss": loss, "confidence": confidence}


def auc_interval(members: np.ndarray, others: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """ROC-AUC of membership and its 95 % bootstrap interval (percentiles; videos of each side drawn with replacement).

    Args:
        members, others: a signal of each video, at least one on either side.
        seed: of the bootstrap.

    >>> auc_interval(np.array([3.0, 4.0]), np.array([1.0, 2.0]))
    (1.0, 1.0, 1.0)
    """
    rng = keyed_generator(seed, 0, "", "audit bootstrap")
    drawn = [_auc(rng.choice(members, len(members)), rng.choice(others, len(others))) for _ in range(_DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return _auc(members, others), float(low), float(high)


def _auc(members: np.ndarray, others: np.ndarray) -> float:
    signal = np.concatenate([members, others])
    positive = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    area = roc_auc(signal, positive, 1 - positive)
    assert area is not None  # both sides hold a video
    return area
