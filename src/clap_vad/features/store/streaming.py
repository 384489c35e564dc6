"""Streaming passes over the segments of videos, with only a few segments in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from ...core.pseudo_labels.magnitude import LARGEST, magnitudes, region_mean, unusable_segment
from ...core.pseudo_labels.summary import diagonal_entropy, largest_rise, von_neumann_entropy
from ...core.statistics.moments import Moments, Normaliser, SpreadAccumulator
from ...errors import ClapError
from .reader import FeatureStore, VideoIndex

__all__ = [
    "ENTROPIES",
    "all_video_magnitudes",
    "all_video_moments",
    "all_video_statistics",
    "blocks",
    "feature_moments",
    "segment_changes",
    "video_statistics",
]

T = TypeVar("T")
ENTROPIES = ("diagonal", "von-neumann")
_BLOCK_BYTES = 1 << 18  # fits the second-level cache, so that a block is read from memory once
_SPREAD_BLOCKS = 64  # blocks of segment means whose variance is computed together, to have fewer array operations
_PASS_THREADS = 2

Block = tuple[int, np.ndarray, np.ndarray | None]


def blocks(
    store: FeatureStore, entry: VideoIndex, normaliser: Normaliser | None = None, nbytes: int = _BLOCK_BYTES
) -> Iterator[Block]:
    """Read a video's segments in blocks of about ``nbytes``.

    Yields:
        (offset of the block in the video, features (n, C, D) float32, valid (n, C) or None). Without a
        normaliser, blocks of a float32 store are read-only views of the file.

    Raises:
        ClapError: a feature is unusable; the message names video and segment. Values are checked only in the first
            pass over a video, while its blocks are in the cache.
    """
    step = max(1, nbytes // (store.crops * store.dim * 4))
    unseen = entry.video not in store.looked_through
    for start in range(entry.start, entry.stop, step):
        stop = min(start + step, entry.stop)
        x: np.ndarray = store.features[start:stop]
        valid = None if store.valid is None else store.valid[start:stop]
        if unseen and (broken := unusable_segment(x, valid)) is not None:
            raise _unusable(store, entry, start - entry.start + broken)
        if normaliser is not None:
            x = normaliser.apply(store.read(start, stop))
        elif x.dtype != np.float32:
            x = x.astype(np.float32)
        yield start - entry.start, x, valid
    store.looked_through.add(entry.video)


def feature_moments(store: FeatureStore, entries: Sequence[VideoIndex]) -> Moments:
    """Count, sum and sum of squares per dimension over all valid regions of these videos."""
    return Moments.total(all_video_moments(store, entries), store.dim)


def all_video_moments(store: FeatureStore, entries: Sequence[VideoIndex]) -> list[Moments]:
    """:func:`feature_moments` of each video, in order."""

    def one(entry: VideoIndex) -> Moments:
        parts = []
        for _, x, valid in blocks(store, entry):
            parts.append(Moments.of(x.reshape(-1, store.dim) if valid is None else x[valid]))
        return Moments.total(parts, store.dim)

    return _in_order(one, entries)


def video_statistics(
    store: FeatureStore, entry: VideoIndex, normaliser: Normaliser | None, entropy: str
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the magnitudes and the summary of a video in one pass.

    For the diagonal entropy memory is bounded: variances are accumulated without a D x D matrix. The von Neumann
    entropy needs the (T, D) segment means of the video at once.

    Returns:
        (m (T,) float64, summary (2,) float64 = largest rise of m, entropy).

    Raises:
        ClapError: a feature is not finite; the message names video and segment.
    """
    m = np.empty(entry.segments)
    spread = SpreadAccumulator(store.dim)
    rows: list[np.ndarray] = []
    for offset, x, valid in blocks(store, entry, normaliser):
        m[offset : offset + len(x)] = magnitudes(x, valid)
        rows.append(np.array(region_mean(x, valid)))
        if entropy == "diagonal" and len(rows) == _SPREAD_BLOCKS:
            spread.add(np.concatenate(rows))
            rows.clear()
    _check_finite(store, entry, m)
    if entropy == "von-neumann":
        return m, np.array([largest_rise(m), von_neumann_entropy(np.concatenate(rows))])
    if rows:
        spread.add(np.concatenate(rows))
    return m, np.array([largest_rise(m), diagonal_entropy(spread.variance())])


def all_video_statistics(
    store: FeatureStore, entries: Sequence[VideoIndex], normaliser: Normaliser | None, entropy: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """:func:`video_statistics` of each video, in order, with two threads (numpy releases the interpreter lock)."""
    return _in_order(lambda entry: video_statistics(store, entry, normaliser, entropy), entries)


def all_video_magnitudes(
    store: FeatureStore, entries: Sequence[VideoIndex], normaliser: Normaliser | None
) -> list[np.ndarray]:
    """Magnitudes (T,) float64 of each video, in order; errors as in :func:`video_statistics`."""

    def one(entry: VideoIndex) -> np.ndarray:
        m = np.concatenate([magnitudes(x, valid) for _, x, valid in blocks(store, entry, normaliser)])
        _check_finite(store, entry, m)
        return m

    return _in_order(one, entries)


def segment_changes(store: FeatureStore, entries: Sequence[VideoIndex], normaliser: Normaliser | None) -> np.ndarray:
    """Distance from each segment's mean over regions to that of the next segment of its video, in order.

    Returns:
        (N,) float32; the last segment of a video has the distance to the previous one; 0 for a single segment.
    """

    def one(entry: VideoIndex) -> np.ndarray:
        changes = np.zeros(entry.segments, dtype=np.float32)
        last: np.ndarray | None = None
        for offset, x, valid in blocks(store, entry, normaliser):
            rows = region_mean(x, valid)
            joined = rows if last is None else np.concatenate((last, rows))
            steps = np.linalg.norm(np.diff(joined, axis=0), axis=1)
            begin = offset - (last is not None)
            changes[begin : begin + len(steps)] = steps
            last = rows[-1:].copy()
        if entry.segments > 1:
            changes[-1] = changes[-2]
        return changes

    return np.concatenate(_in_order(one, entries))


def _check_finite(store: FeatureStore, entry: VideoIndex, m: np.ndarray) -> None:
    if not np.isfinite(m).all():
        raise _unusable(store, entry, int(np.flatnonzero(~np.isfinite(m))[0]))


def _unusable(store: FeatureStore, entry: VideoIndex, segment: int) -> ClapError:
    return ClapError(
        f"{store.path / 'features.npy'}: video '{entry.video}', segment {segment}: a feature is NaN, infinite or "
        f"far too large (beyond {LARGEST:g}); extract or import this video again"
    )


def _in_order(function: Callable[[VideoIndex], T], entries: Sequence[VideoIndex]) -> list[T]:
    with ThreadPoolExecutor(_PASS_THREADS) as pool:
        return list(pool.map(function, entries))
