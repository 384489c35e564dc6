"""The crops of some videos as rows: those present, perhaps a sample of them, read block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import ClapError
from .store import FeatureStore, VideoIndex
from .streaming import blocks

__all__ = ["crop_rows", "present_crops"]


def present_crops(
    store: FeatureStore, entries: Sequence[VideoIndex], most: int, rng: np.random.Generator
) -> np.ndarray:
    """Positions of the crops present, ascending, segment by segment in the order of the videos.

    Args:
        store: where the features lie.
        entries: the videos.
        most: of more, so many are drawn alike.
        rng: draws them.

    Returns:
        (n,) int64; crop c of the t-th segment of all is at ``t * C + c``.
    """
    if store.valid is None:
        total = sum(entry.segments for entry in entries) * store.crops
        return np.arange(total) if total <= most else np.sort(rng.choice(total, most, replace=False))
    masks = [np.asarray(store.valid[entry.start : entry.stop]).ravel() for entry in entries]
    present = np.flatnonzero(np.concatenate(masks)) if masks else np.zeros(0, np.int64)
    return present if len(present) <= most else np.sort(rng.choice(present, most, replace=False))


def crop_rows(
    store: FeatureStore,
    entries: Sequence[VideoIndex],
    positions: np.ndarray,
    transform: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The crops at these positions, transformed block by block.

    Args:
        store, entries: as for :func:`present_crops`.
        positions: (n,) ascending.
        transform: (k, D) float32 -> (k, d) float32.

    Returns:
        rows (n, d) float32, and the number of each one's video, (n,) int64.

    Raises:
        ClapError: a row that is not finite; the sentence names video and segment.
    """
    rows = [transform(np.zeros((0, store.dim), np.float32))]
    bounds = np.cumsum([0, *(entry.segments * store.crops for entry in entries)])
    videos = np.searchsorted(bounds, positions, side="right") - 1
    for number, entry in enumerate(entries):
        for offset, x, _ in blocks(store, entry):
            first = bounds[number] + offset * store.crops
            begin, end = np.searchsorted(positions, [first, first + len(x) * store.crops])
            if begin == end:
                continue
            own = positions[begin:end] - first
            found = transform(x.reshape(-1, store.dim)[own])
            if not np.isfinite(found).all():
                at = offset + int(own[np.flatnonzero(~np.isfinite(found).all(axis=1))[0]]) // store.crops
                raise ClapError(
                    f"{store.path / 'features.npy'}: video '{entry.video}', segment {at}: a feature is NaN, infinite "
                    "or far too large; 'clap features info' counts them, extract or import this video again"
                )
            rows.append(found)
    return np.concatenate(rows), videos
