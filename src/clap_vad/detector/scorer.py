"""The interface that turns a video's features into scores, for models and exported graphs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ..errors import ClapError
from ..features.store.reader import FeatureStore, VideoIndex
from ..features.store.streaming import blocks
from .threads import fixed_threads

__all__ = ["Scorer"]


class Scorer(ABC):
    """Scores each region independently, block by block (``evidence``), then aggregates them (``scores``)."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, features per region."""

    @abstractmethod
    def evidence(self, x: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Region scores: raw features (T, C, D) float32 -> (T, C).

        ``valid`` (T, C) bool marks the valid regions; the features of others are ignored.
        """

    @abstractmethod
    def scores(
        self, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None, causal: bool = False
    ) -> np.ndarray:
        """s[t] in [0, 1] of a whole video, (T,) float32, from the region scores of all its segments.

        Args:
            evidence: (T, C) region scores from :meth:`evidence`.
            valid: (T, C) bool, or None if all regions are valid.
            fps: frames per second; None if unknown.
            causal: use past segments only, as for a live stream.
        """

    def contributions(self, evidence: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """(T, C) contribution of each region to its segment's score; larger values locate the anomaly."""
        return evidence if valid is None else np.where(valid, evidence, 0.0)

    def score(
        self, x: np.ndarray, valid: np.ndarray | None = None, fps: float | None = None, causal: bool = False
    ) -> np.ndarray:
        """s[t] of a video's raw features, (T, C, D) float32 -> (T,) float32; arguments as above."""
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ClapError(f"features of shape {x.shape} do not match this model; give (T, C, {self.dim})")
        return self.scores(self.evidence(x, valid), valid, fps, causal)

    def score_videos(
        self, store: FeatureStore, entries: Sequence[VideoIndex], threads: int, causal: bool = False
    ) -> list[np.ndarray]:
        """s[t] of each of these videos, in order, computed block by block."""
        found = []
        with fixed_threads(threads):
            for entry in entries:
                valid = None if store.valid is None else np.array(store.valid[entry.start : entry.stop])
                evidence = np.concatenate([self.evidence(x, own) for _, x, own in blocks(store, entry)])
                if (odd := np.flatnonzero(~np.isfinite(evidence).all(axis=1))).size:
                    raise ClapError(
                        f"{store.path / 'features.npy'}: video '{entry.video}', segment {odd[0]}: a feature is NaN, "
                        "infinite or far too large; extract or import this video again"
                    )
                found.append(self.scores(evidence, valid, entry.fps, causal))
        return found
