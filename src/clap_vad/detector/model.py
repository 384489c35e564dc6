"""The saved model: weights without code, and beside them everything that is needed to use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.magnitude import crop_weights
from ..core.moments import Normaliser
from ..errors import ClapError
from ..persistence import file_sha256, load_arrays, read_json, save_arrays, write_json
from .network import Weights, input_dim, weight_shapes

__all__ = ["SCHEMA_VERSION", "Model"]

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Model:
    """A detector with its normalisation and its description.

    Attributes:
        weights: see :mod:`clap_vad.detector.network`.
        normaliser: standardisation of the features, or None.
        info: contents of ``model.json`` without the normaliser: ``extractor`` {name, settings}, ``segment_frames``,
            ``dim``, ``calibration`` {quantile, threshold, quantiles}, provenance.
    """

    weights: Weights
    normaliser: Normaliser | None
    info: dict[str, Any]

    def save(self, folder: Path) -> str:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``; returns the weights' SHA-256."""
        save_arrays(folder / "model.safetensors", self.weights)
        sha256 = file_sha256(folder / "model.safetensors")
        normaliser = self.normaliser and {
            "mean": self.normaliser.mean.tolist(),
            "scale": self.normaliser.scale.tolist(),
        }
        head = {"schema_version": SCHEMA_VERSION, "model_sha256": sha256}
        write_json(folder / "model.json", {**head, **self.info, "normaliser": normaliser})
        return sha256

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read a model; raises :class:`ClapError` when files are missing, damaged or do not belong together."""
        if not (folder / "model.json").exists():
            raise ClapError(f"{folder}: no model there (model.json is missing); give the folder of a finished run")
        info = read_json(folder / "model.json")
        version = info.get("schema_version") if isinstance(info, dict) else None
        if version != SCHEMA_VERSION:
            raise ClapError(f"{folder / 'model.json'}: schema version {version}; this release reads {SCHEMA_VERSION}")
        file = folder / "model.safetensors"
        weights = load_arrays(file)
        if info.get("model_sha256") != file_sha256(file):
            raise ClapError(f"{file}: its SHA-256 is not the one in model.json; the files do not belong together")
        if "layer1.weight" not in weights or {k: v.shape for k, v in weights.items()} != weight_shapes(
            input_dim(weights)
        ):
            raise ClapError(f"{file}: not the weights of a detector of this project")
        return cls(weights, _read_normaliser(folder / "model.json", info.pop("normaliser", None), weights), info)

    @property
    def dim(self) -> int:
        """D, floats per crop that the model takes."""
        return input_dim(self.weights)

    def score(self, x: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
        """s[t] of raw features, (T, C, D) float32 -> (T,) float32; ``valid`` (T, C) bool marks crops present."""
        from .scoring import score_segments

        share = None if valid is None else crop_weights(valid)
        return score_segments(self.weights, self._standardised(x), share)

    def _standardised(self, x: np.ndarray) -> np.ndarray:
        if x.ndim != 3 or x.shape[2] != self.dim:
            raise ClapError(f"features of shape {x.shape} do not fit this model; (T, C, {self.dim}) is needed")
        return x if self.normaliser is None else self.normaliser.apply(np.array(x, dtype=np.float32))


def _read_normaliser(file: Path, stored: Any, weights: Weights) -> Normaliser | None:
    if stored is None:
        return None
    try:
        parts = [np.array(stored[key], np.float32) for key in ("mean", "scale")]
    except (KeyError, TypeError, ValueError):
        parts = []
    if not parts or not all(part.shape == (input_dim(weights),) and np.isfinite(part).all() for part in parts):
        raise ClapError(
            f"{file}: 'normaliser' must hold {input_dim(weights)} finite numbers each as 'mean' and 'scale'; "
            "restore the file or train again"
        )
    return Normaliser(*parts)
