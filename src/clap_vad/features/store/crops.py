"""The valid regions of some videos (all or a random sample) as rows, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ClapError
from .reader import FeatureStore, VideoIndex
from .streaming import blocks

__all__ = ["crop_rows", "drawn_crops"]


def drawn_crops(
    store: FeatureStore, entry: VideoIndex, rate: float, most: int | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw a random sample of a video's valid regions; returns their positions, ascending.

    The draw depends only on the video's length and on ``rng``, not on which regions are valid.

    Args:
        store: the feature store.
        entry: the video.
        rate: probability of drawing a region.
        most: largest sample size; None for no limit.
        rng: random generator.

    Returns:
        (n,) int64; region c of segment t has the position ``t * C + c``.
    """
    count = entry.segments * store.crops
    chosen = np.ones(count, bool) if store.valid is None else np.array(store.valid[entry.start : entry.stop]).ravel()
    draw = rng.random(count) if rate < 1 or most is not None else np.zeros(count)
    found = np.flatnonzero(chosen & (draw < rate))
    if most is not None and len(found) > most:
        found = np.sort(found[np.argsort(draw[found], kind="stable")[:most]])
    return found


def crop_rows(
    store: FeatureStore,
    entries: Sequence[VideoIndex],
    positions: Sequence[np.ndarray],
    transform: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The features of the regions at these positions, transformed block by block, (n, d) float32 in order of videos.

    Args:
        store: the feature store.
        entries: the videos.
        positions: positions for each video, ascending, as from :func:`drawn_crops`.
        transform: (k, D) float32 -> (k, d) float32.

    Raises:
        ClapError: a row is not finite; the message names video and segment.
    """
    rows = [transform(np.zeros((0, store.dim), np.float32))]
    for entry, wanted in zip(entries, positions, strict=True):
        for offset, x, _ in blocks(store, entry):
            first = offset * store.crops
            begin, end = np.searchsorted(wanted, [first, first + len(x) * store.crops])
            if begin == end:
                continue
            own = wanted[begin:end] - first
            found = transform(x.reshape(-1, store.dim)[own])
            if not np.isfinite(found).all():
                at = offset + int(own[np.flatnonzero(~np.isfinite(found).all(axis=1))[0]]) // store.crops
                raise ClapError(
                    f"{store.path / 'features.npy'}: video '{entry.video}', segment {at}: a feature is NaN, infinite "
                    "or far too large; extract or import this video again ('clap features info' counts such values)"
                )
            rows.append(found)
    return np.concatenate(rows)
