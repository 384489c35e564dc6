"""Membership inference: whether a video was used for training, from a model's scores.

The attack is tested on models with known members: each is trained on a random half of every participant's videos, and
the other half are non-members. Both have the same distribution, so they differ only in membership; test videos would
differ in more. Over both halves, a signal independent of membership has a mean area of exactly 50 %.

The threshold on the loss is from Yeom et al. 2018 ("Privacy risk in machine learning"). The likelihood ratio is LiRA
(Carlini et al. 2022, "Membership inference attacks from first principles"): each model is a shadow model for the
others, so an easy video is not taken for a member, because it is compared with its own scores in other models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.statistics.randomness import keyed_generator

__all__ = ["SIGNALS", "auc_interval", "halves", "likelihood_ratio", "threshold_signals"]

SIGNALS = ("loss", "confidence", "likelihood_ratio")
_DRAWS = 1000
_EDGE = 1e-7


def halves(held: Mapping[str, Sequence[str]], seed: int, number: int) -> tuple[dict[str, list[str]], ...]:
    """A random half of each participant's videos, and the other half, in the participant's order.

    A participant with a single video has it in both halves, so that the participants stay the same.

    Args:
        held: videos of each participant.
        seed: seed of the run.
        number: number of the split; splits are independent.

    >>> [[len(own) for own in side.values()] for side in halves({"a": ["1"], "b": ["2", "3", "4", "5"]}, 0, 0)]
    [[1, 2], [1, 2]]
    """
    sides: tuple[dict[str, list[str]], ...] = ({}, {})
    for participant, videos in held.items():
        rng = keyed_generator(seed, number, participant, "audit halves")
        cut = len(videos) // 2 + int(rng.integers(2)) * (len(videos) % 2)
        first = set(rng.permutation(len(videos))[:cut])
        for side, kept in zip(sides, (True, False), strict=True):
            chosen = [video for i, video in enumerate(videos) if (i in first) == kept]
            side[participant] = chosen if len(videos) > 1 else list(videos)
    return sides


def threshold_signals(scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Membership signals per video, (V,) float64 each; larger means more likely a member.

    ``loss``: minus the mean cross-entropy to the label normal. ``confidence``: minus the mean cross-entropy to the
    nearer label, for models trained on pseudo-labels.

    Args:
        scores: s[t] of each video.
    """
    loss, confidence = np.zeros(len(scores)), np.zeros(len(scores))
    for video, own in enumerate(scores):
        s = np.clip(np.asarray(own, np.float64), _EDGE, 1 - _EDGE)
        loss[video] = np.log1p(-s).mean()
        confidence[video] = np.maximum(np.log(s), np.log1p(-s)).mean()
    return {"loss": loss, "confidence": confidence}


def likelihood_ratio(
    scores: Sequence[np.ndarray], shadows: Sequence[Sequence[np.ndarray]], trained_on: np.ndarray
) -> np.ndarray:
    """LiRA: log-likelihood ratio of each video's scores between models trained with and without it, (V,) float64.

    phi is the mean over a video's segments of ``|logit s[t]|``: Carlini's logit of the confidence, for the nearer
    label, because the training label depends on a site's other data. phi is assumed to be Gaussian with mean ``b_v +
    shift`` in models trained with the video v, and ``b_v`` in others. Variance and shift are common to all videos,
    because a few shadow models are too few to estimate them per video (Carlini et al. also use a common variance then).
    Up to factor and constant the log ratio is ``shift (phi - (mu_in + mu_out) / 2)``, with mu_in and mu_out the means
    over the shadow models with and without the video, and shift the mean of their differences.

    Args:
        scores: s[t] of each video from the attacked model.
        shadows: the same from each of K shadow models.
        trained_on: (K, V) bool; each video is in at least one shadow model and not in all.
    """
    phi, shadow_phi = _confidence(scores), np.stack([_confidence(shadow) for shadow in shadows])
    inside = np.mean(shadow_phi, axis=0, where=trained_on)
    outside = np.mean(shadow_phi, axis=0, where=~trained_on)
    return np.asarray((inside - outside).mean() * (phi - (inside + outside) / 2))


def _confidence(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of ``|logit s[t]|`` of each video, (V,)."""
    clipped = (np.clip(np.asarray(own, np.float64), _EDGE, 1 - _EDGE) for own in scores)
    return np.array([np.abs(np.log(s) - np.log1p(-s)).mean() for s in clipped])


def auc_interval(signals: np.ndarray, members: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """ROC-AUC of membership, averaged over models, with a 95 % bootstrap interval (percentiles, over videos).

    Args:
        signals: (M, V) signal of each video in each model.
        members: (M, V) bool; every model has members and non-members.
        seed: seed of the bootstrap.

    >>> auc_interval(np.array([[3.0, 4.0, 1.0, 2.0]]), np.array([[True, True, False, False]]))
    (1.0, 1.0, 1.0)
    """
    rng, videos = keyed_generator(seed, 0, "", "audit bootstrap"), signals.shape[1]
    drawn = np.stack([np.bincount(rng.integers(videos, size=videos), minlength=videos) for _ in range(_DRAWS)])
    times = np.concatenate([np.ones((1, videos)), drawn])
    areas = np.mean([_areas(*each, times) for each in zip(signals, members, strict=True)], axis=0)
    low, high = np.nanquantile(areas, (0.025, 0.975))  # NaN if a draw has only members or only non-members
    return float(areas[0]), float(low), float(high)


def _areas(signal: np.ndarray, inside: np.ndarray, times: np.ndarray) -> np.ndarray:
    """AUC of one model, (n,), with video v counted ``times[:, v]`` times, (n, V); NaN with one kind of videos."""
    above = np.sign(signal[inside][:, None] - signal[~inside]) / 2 + 0.5
    members, others = times[:, inside], times[:, ~inside]
    pairs = members.sum(axis=1) * others.sum(axis=1)
    better = ((members @ above) * others).sum(axis=1)
    return np.divide(better, pairs, out=np.full(len(times), np.nan), where=pairs > 0)
