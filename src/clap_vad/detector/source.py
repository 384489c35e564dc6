"""Segments of one participant for training, read from the store batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..core.pseudo_labels.magnitude import region_weights
from ..core.statistics.moments import Normaliser
from ..features.store.reader import FeatureStore, VideoIndex

__all__ = ["SegmentSource", "video_slices"]


class SegmentSource:
    """The segments of some videos, numbered in the videos' order; features are not kept in memory.

    Args:
        store: the feature store.
        entries: the videos, in order.
        normaliser: standardisation, or None.
    """

    def __init__(self, store: FeatureStore, entries: Sequence[VideoIndex], normaliser: Normaliser | None) -> None:
        self.store = store
        self.entries = tuple(entries)
        self.crops, self.dim = store.crops, store.dim
        self._rows = np.concatenate([np.arange(entry.start, entry.stop) for entry in entries])
        self._normaliser = normaliser
        # A native-order float32 view allows gathers without a copy; torch's parallel gather is the fastest.
        self._float32 = _as_tensor(store.features) if store.features.dtype == np.float32 else None

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, segments: np.ndarray) -> np.ndarray:
        """Rows of the store with these segments."""
        return self._rows[segments]

    def present(self) -> np.ndarray:
        """Indices of the segments with at least one valid region; only these are used for training."""
        if self.store.valid is None:
            return np.arange(len(self))
        return np.flatnonzero(self.store.valid[self._rows].any(axis=1))

    def draw_crops(self, segments: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Sample ``count`` distinct regions per segment uniformly from the valid ones; invalid ones fill up.

        Returns:
            (n, count) int64, each row ascending.
        """
        keys = rng.random((len(segments), self.crops))
        if self.store.valid is not None:
            keys[~self.store.valid[self._rows[segments]]] += 1
        return np.sort(np.argpartition(keys, count - 1, axis=1)[:, :count], axis=1)

    def gather(self, segments: np.ndarray, out: torch.Tensor, crops: np.ndarray | None = None) -> np.ndarray | None:
        """Copy segments into ``out`` (n, C, D) float32, standardised.

        Args:
            segments: (n,) indices in this source.
            out: contiguous, with its own memory, so that results do not depend on the alignment of the file.
            crops: (n, K) regions to take, ``out`` is then (n, K, D); None for all.

        Returns:
            (n, C) or (n, K) float32 weights of the regions in an average, None if all regions are valid.
        """
        rows = self._rows[segments]
        if crops is None:
            _take(self.store.features, self._float32, rows, out)
        else:
            flat = (rows[:, None] * self.crops + crops).ravel()
            _take(self.store.features.reshape(-1, self.dim), self._float32, flat, out.view(-1, self.dim))
        if self._normaliser is not None:
            self._normaliser.apply(out.numpy())
        if self.store.valid is None:
            return None
        valid = self.store.valid[rows]
        return region_weights(valid if crops is None else np.take_along_axis(valid, crops, axis=1))


def _take(features: np.ndarray, float32: torch.Tensor | None, rows: np.ndarray, out: torch.Tensor) -> None:
    """Copy rows of the store into ``out``."""
    if float32 is not None:
        torch.index_select(float32.view(features.shape), 0, torch.from_numpy(rows), out=out)
    else:
        out.copy_(torch.from_numpy(features[rows]))


def video_slices(entries: Sequence[VideoIndex]) -> list[slice]:
    """Slice of each video's segments in a :class:`SegmentSource` of these videos."""
    stops = np.cumsum([entry.segments for entry in entries])
    return [slice(int(stop) - entry.segments, int(stop)) for entry, stop in zip(entries, stops, strict=True)]


def _as_tensor(features: np.ndarray) -> torch.Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")  # it is only read
        return torch.from_numpy(features)
