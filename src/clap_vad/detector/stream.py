"""Causal scores of a stream, one segment at a time, in bounded memory."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..errors import ClapError
from .model import Model

__all__ = ["StreamScorer"]


class StreamScorer:
    """Gives the same scores as ``model.score(x, valid, fps, causal=True)``, segment by segment.

    It keeps the region scores of only as many segments as a score depends on. Create a new scorer after a hole in the
    stream, because earlier segments are no longer adjacent. Call it within
    :func:`~clap_vad.detector.threads.fixed_threads`, like all scoring.

    Args:
        model: the model.
        fps: frames per second of the stream; None if unknown.
    """

    def __init__(self, model: Model, fps: float | None) -> None:
        self._model, self._fps = model, fps
        kept = model.look_back(fps) + 1
        self._evidence: deque[np.ndarray] = deque(maxlen=kept)
        self._valid: deque[np.ndarray | None] = deque(maxlen=kept)

    def add(self, features: np.ndarray, valid: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Score the next segment.

        Args:
            features: (C, D) float32.
            valid: (C,) bool, the valid regions; None if all are valid, in every segment of the stream.

        Returns:
            s[t] in [0, 1], NaN if a feature of a valid region is not finite, and the (C,) contributions of the regions,
            see :meth:`~clap_vad.detector.scorer.Scorer.contributions`.

        Raises:
            ClapError: the shape of the features does not match the model or the stream so far.
        """
        if features.ndim != 2 or features.shape[1] != self._model.dim:
            raise ClapError(f"features of shape {features.shape} do not match this model; give (C, {self._model.dim})")
        if self._evidence and (
            features.shape[0] != len(self._evidence[0]) or (valid is None) != (self._valid[0] is None)
        ):
            raise ClapError("the segments of a stream differ in their number of regions; begin a new stream")
        mask = None if valid is None else np.array(valid, bool)
        self._evidence.append(self._model.evidence(features[None], None if mask is None else mask[None])[0])
        self._valid.append(mask)
        evidence = np.stack(self._evidence)
        present = [own for own in self._valid if own is not None]
        whole = np.stack(present) if present else None
        score = self._model.scores(evidence, whole, self._fps, causal=True)[-1]
        return float(score), self._model.contributions(evidence, whole)[-1]
