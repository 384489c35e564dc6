"""Scores of the detector, by default in evaluation mode (no dropout), in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ..core.statistics.moments import Normaliser
from ..features.store.reader import FeatureStore, VideoIndex
from .dropout import DROPOUT, Dropout
from .source import SegmentSource, video_slices
from .threads import torch_threads

__all__ = ["pooled_scores", "score_regions", "score_segments", "score_videos"]

_BATCH_ROWS = 4096  # regions scored at once


def score_regions(
    weights: Mapping[str, np.ndarray], x: np.ndarray, dropout: np.random.Generator | None = None
) -> np.ndarray:
    """Score of each region, (T, C, D) float32 (already standardised if needed) -> (T, C) float32 in [0, 1].

    ``dropout``: a random generator enables dropout (training mode).

    >>> from clap_vad.detector.network import initial_weights
    >>> score_regions(initial_weights(4, seed=0), np.zeros((3, 2, 4), np.float32)).tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    h = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).flatten(0, 1)
    w = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
    drop = Dropout(DROPOUT if dropout else 0.0, dropout or np.random.default_rng(0))
    scores = []
    for start in range(0, len(h), _BATCH_ROWS):
        part = torch.addmm(w["layer1.bias"], h[start : start + _BATCH_ROWS], w["layer1.weight"].t()).relu_()
        part = torch.addmm(w["layer2.bias"], drop(part), w["layer2.weight"].t(), alpha=drop.scale).relu_()
        scores.append(torch.addmm(w["layer3.bias"], drop(part), w["layer3.weight"].t(), alpha=drop.scale).sigmoid_())
    flat = torch.cat(scores) if scores else torch.empty(0, 1)
    return flat.numpy().reshape(x.shape[:2])


def score_segments(
    weights: Mapping[str, np.ndarray],
    x: np.ndarray,
    share: np.ndarray | None,
    dropout: np.random.Generator | None = None,
) -> np.ndarray:
    """s[t], the mean score over valid regions, (T,) float32; 0 if no region is valid.

    Args:
        weights, x, dropout: as for :func:`score_regions`.
        share: (T, C) float32 weight of each region in the mean; None if all are valid.
    """
    return pooled_scores(score_regions(weights, x, dropout), share)


def pooled_scores(scores: np.ndarray, share: np.ndarray | None) -> np.ndarray:
    """The mean over regions of (T, C) scores, (T,) float32; ``share`` as for :func:`score_segments`."""
    if share is None:
        return scores.mean(axis=1, dtype=np.float32)
    return (scores * share).sum(axis=1, dtype=np.float32)


def score_videos(
    weights: Mapping[str, np.ndarray],
    store: FeatureStore,
    entries: Sequence[VideoIndex],
    normaliser: Normaliser | None,
    threads: int,
    dropout: np.random.Generator | None = None,
    crops: tuple[int, np.random.Generator] | None = None,
) -> list[np.ndarray]:
    """s[t] of each video, in order; segments of many short videos share a batch.

    Args:
        dropout: a random generator enables dropout (training mode).
        crops: number of regions to sample per segment, and the random generator; None for all.
    """
    source = SegmentSource(store, entries, normaliser)
    looked_at = store.crops if crops is None else min(crops[0], store.crops)
    batch = max(1, _BATCH_ROWS // looked_at)
    buffer = torch.empty(min(batch, len(source)), looked_at, store.dim)
    scores = np.empty(len(source), dtype=np.float32)
    with torch_threads(threads):
        for start in range(0, len(source), batch):
            segments = np.arange(start, min(start + batch, len(source)))
            x = buffer[: len(segments)]
            drawn = None if crops is None else source.draw_crops(segments, looked_at, crops[1])
            share = source.gather(segments, x, drawn)
            scores[segments] = score_segments(weights, x.numpy(), share, dropout)
    return [scores[part] for part in video_slices(entries)]
