"""Causal scores of a stream, one segment at a time, in bounded memory."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..errors import ClapError
from .model import Model

__all__ = ["StreamScorer"]


class StreamScorer:
    """Scores what ``model.score(x, valid, fps, causal=True)`` would, without ever holding the whole.

    What it keeps is the evidence of as many segments as a score depends on. After a hole in the stream take a new
    one: what was before it is no longer just before. Work within
    :func:`~clap_vad.detector.threads.fixed_threads`, as all scoring does.

    Args:
        model: judges.
        fps: frames per second of the stream; None where unknown.
    """

    def __init__(self, model: Model, fps: float | None) -> None:
        self._model, self._fps = model, fps
        kept = model.look_back(fps) + 1
        self._evidence: deque[np.ndarray] = deque(maxlen=kept)
        self._valid: deque[np.ndarray | None] = deque(maxlen=kept)

    def add(self, features: np.ndarray, valid: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Judge the next segment.

        Args:
            features: (C, D) float32.
            valid: (C,) bool, which crops are present; None, then with every segment, where all are.

        Returns:
            s[t] in [0, 1], NaN where a feature that counts is not finite, and (C,) how much each crop has to do with
            it, as :meth:`~clap_vad.detector.scorer.Scorer.contributions`.

        Raises:
            ClapError: features of another shape than the model or the stream so far.
        """
        if features.ndim != 2 or features.shape[1] != self._model.dim:
            raise ClapError(
                f"features of shape {features.shape} do not fit this model; (C, {self._model.dim}) is needed"
            )
        if self._evidence and (
            features.shape[0] != len(self._evidence[0]) or (valid is None) != (self._valid[0] is None)
        ):
            raise ClapError("the segments of a stream differ in their crops; begin a new stream")
        mask = None if valid is None else np.array(valid, bool)
        self._evidence.append(self._model.evidence(features[None], None if mask is None else mask[None])[0])
        self._valid.append(mask)
        evidence = np.stack(self._evidence)
        present = [own for own in self._valid if own is not None]
        whole = np.stack(present) if present else None
        score = self._model.scores(evidence, whole, self._fps, causal=True)[-1]
        return float(score), self._model.contributions(evidence, whole)[-1]
