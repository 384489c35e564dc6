"""The detector network as a model: the mean score over regions, segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.pseudo_labels.magnitude import region_weights
from ...core.statistics.moments import Normaliser
from ...errors import ClapError
from ...features.store.reader import FeatureStore, VideoIndex
from ..model import MODELS, Model
from ..network import Weights, input_dim, weight_shapes
from ..scoring import pooled_scores, score_regions, score_videos

__all__ = ["NetworkModel"]


@MODELS.register("network")
@dataclass(frozen=True)
class NetworkModel(Model):
    """A detector with its normalisation and its description.

    Attributes:
        weights: see :mod:`clap_vad.detector.network`.
        normaliser: standardisation of the features, or None.
        info: see :class:`~clap_vad.detector.model.Model`.
    """

    kind = "network"

    weights: Weights
    normaliser: Normaliser | None
    info: dict[str, Any]

    @property
    def dim(self) -> int:
        return input_dim(self.weights)

    def evidence(self, x: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        standardised = x if self.normaliser is None else self.normaliser.apply(np.array(x, dtype=np.float32))
        return score_regions(self.weights, standardised)

    def scores(
        self, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None, causal: bool = False
    ) -> np.ndarray:
        """The mean over valid regions; segments are independent."""
        return pooled_scores(evidence, None if valid is None else region_weights(valid))

    def look_back(self, fps: float | None) -> int:
        return 0

    def score_videos(
        self, store: FeatureStore, entries: Sequence[VideoIndex], threads: int, causal: bool = False
    ) -> list[np.ndarray]:
        """Score in batches that combine segments of several videos."""
        return score_videos(self.weights, store, entries, self.normaliser, threads)

    def arrays(self) -> dict[str, np.ndarray]:
        return self.weights

    def description(self) -> dict[str, Any]:
        if self.normaliser is None:
            return {"normaliser": None}
        return {"normaliser": {"mean": self.normaliser.mean.tolist(), "scale": self.normaliser.scale.tolist()}}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], info: dict[str, Any], folder: Path) -> NetworkModel:
        shapes = {name: value.shape for name, value in arrays.items()}
        if "layer1.weight" not in arrays or shapes != weight_shapes(input_dim(arrays)):
            raise ClapError(f"{folder / 'model.safetensors'}: not the weights of a detector; restore it or train again")
        return cls(arrays, _read_normaliser(folder / "model.json", info.pop("normaliser", None), arrays), info)


def _read_normaliser(file: Path, stored: Any, weights: Weights) -> Normaliser | None:
    if stored is None:
        return None
    try:
        parts = [np.array(stored[key], np.float32) for key in ("mean", "scale")]
    except (KeyError, TypeError, ValueError):
        parts = []
    if not parts or not all(part.shape == (input_dim(weights),) and np.isfinite(part).all() for part in parts):
        raise ClapError(
            f"{file}: 'normaliser' must have {input_dim(weights)} finite numbers in each of 'mean' and 'scale'; "
            "restore the file or train again"
        )
    return Normaliser(*parts)
