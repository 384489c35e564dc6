"""What turns a video's features into scores, whatever computes them."""

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
    """Every crop of a segment is judged for itself, block by block; the evidence of all of them then becomes scores."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, floats per crop that it takes."""

    @abstractmethod
    def evidence(self, x: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """What the crops of some segments say for themselves, raw features (T, C, D) float32 -> (T, C).

        ``valid`` (T, C) bool marks the crops present; whatever stands for an absent one is not looked at.
        """

    @abstractmethod
    def scores(
        self, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None, causal: bool = False
    ) -> np.ndarray:
        """s[t] in [0, 1] of a whole video, (T,) float32, from the evidence of all its segments.

        Args:
            evidence: (T, C) of :meth:`evidence`.
            valid: (T, C) bool, or None where all crops are present.
            fps: frames per second; None where unknown.
            causal: let no segment's score depend on a later one, as a live stream demands.
        """

    def contributions(self, evidence: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """(T, C) how much each crop has to do with its segment's score, larger for more; tells where it happens."""
        return evidence if valid is None else np.where(valid, evidence, 0.0)

    def score(
        self, x: np.ndarray, valid: np.ndarray | None = None, fps: float | None = None, causal: bool = False
    ) -> np.ndarray:
        """s[t] of a video's raw features, (T, C, D) float32 -> (T,) float32; arguments as above."""
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ClapError(f"features of shape {x.shape} do not fit this model; (T, C, {self.dim}) is needed")
        return self.scores(self.evidence(x, valid), valid, fps, causal)

    def score_videos(
        self, store: FeatureStore, entries: Sequence[VideoIndex], threads: int, causal: bool = False
    ) -> list[np.ndarray]:
        """s[t] of each of these videos, in order, block by block."""
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
