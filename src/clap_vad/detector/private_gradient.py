"""Per-video gradients of the detector, each clipped (DP-SGD; Abadi et al. 2016, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy

from .dropout import DROPOUT, Dropout
from .network import Weights, last_layers
from .source import SegmentSource
from .threads import torch_threads

__all__ = ["clipped_gradients", "video_gradient"]


def clipped_gradients(
    weights: Mapping[str, np.ndarray],
    source: SegmentSource,
    labels: np.ndarray,
    videos: Iterable[tuple[np.ndarray, np.random.Generator]],
    clip: float,
    *,
    layers: int,
    segments: int,
    crops: int,
    threads: int,
    dropout: float = DROPOUT,
) -> Weights:
    """Sum of the gradients of videos, each clipped to an L2 norm of at most 1.

    Args:
        weights: the global model.
        source: the participant's segments.
        labels: (N,) float32 in [0, 1], one per segment of ``source``.
        videos: for each video that takes part, the indices of its segments and its random generator; a video without
            segments adds nothing.
        clip: C; a gradient is divided by it and then clipped to a norm of 1.
        layers: number of last layers whose weights are trained.
        segments: most segments per video; longer videos are sampled anew at random.
        crops: regions per segment, sampled anew at random; 0 for all.
        threads: CPU threads.
        dropout: probability of dropping a hidden unit.

    Returns:
        float64 per weight of these layers.
    """
    total = {name: np.zeros(weights[name].shape) for name in last_layers(weights, layers)}
    looked_at = min(crops or source.crops, source.crops)
    with torch_threads(threads):
        for video, rng in videos:
            if len(video) == 0:
                continue
            chosen = video if len(video) <= segments else np.sort(rng.permutation(video)[:segments])
            x = torch.empty(len(chosen), looked_at, source.dim)
            drawn = None if looked_at == source.crops else source.draw_crops(chosen, looked_at, rng)
            share = source.gather(chosen, x, drawn)
            gradient = video_gradient(weights, x, share, labels[chosen], Dropout(dropout, rng), layers)
            norm = np.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in gradient.values()))
            if np.isfinite(norm):  # skipped otherwise: an error would depend on one video
                for name, value in gradient.items():
                    total[name] += value / max(clip, norm)
    return total


def video_gradient(
    weights: Mapping[str, np.ndarray],
    x: torch.Tensor,
    share: np.ndarray | None,
    labels: np.ndarray,
    drop: Dropout,
    layers: int,
) -> Weights:
    """Gradient of the mean binary cross-entropy of a video's segments, float32 per weight of the last layers.

    Args:
        weights: weights of the detector.
        x: (n, C, D) float32.
        share: (n, C) weight of each region in the segment's score; None if all are valid.
        labels: (n,) float32 in [0, 1].
        drop: dropout of hidden units.
        layers: number of last layers.
    """
    w = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in weights.items()}
    wanted = {name: w[name].requires_grad_() for name in last_layers(w, layers)}
    h = x.flatten(0, 1)
    for layer in (1, 2):
        h = torch.relu(torch.addmm(w[f"layer{layer}.bias"], h, w[f"layer{layer}.weight"].t()))
        h = h * drop.keep(h) * drop.scale
    scores = torch.sigmoid(torch.addmm(w["layer3.bias"], h, w["layer3.weight"].t())).view(x.shape[:2])
    s = scores.mean(dim=1) if share is None else (scores * torch.from_numpy(share)).sum(dim=1)
    loss = binary_cross_entropy(s.clamp(0.0, 1.0), torch.from_numpy(labels))
    gradients = torch.autograd.grad(loss, list(wanted.values()))
    return {name: gradient.numpy() for name, gradient in zip(wanted, gradients, strict=True)}
