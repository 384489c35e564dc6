"""The saved model: arrays without code, and beside them everything that is needed to use them.

A kind of model is one file in ``detector/models/``. All have in common that every crop of a segment is judged for
itself, block by block, and that the evidence of a video's crops then becomes the scores of its segments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import ClapError
from ..features.store import FeatureStore, VideoIndex
from ..features.streaming import blocks
from ..persistence import file_sha256, load_arrays, read_json, save_arrays, write_json
from ..registry import Registry
from .threads import fixed_threads

__all__ = ["MODELS", "SCHEMA_VERSION", "Model"]

SCHEMA_VERSION = 1
_NETWORK = "network"
"""What a ``model.json`` without a kind describes."""


class Model(ABC):
    """A model with its description.

    Attributes:
        kind: under which it is registered.
        info: contents of ``model.json`` but for what the kind adds itself: ``extractor`` {name, settings},
            ``segment_frames``, ``dim``, ``calibration`` {quantile, threshold, quantiles}, provenance.
    """

    kind: ClassVar[str]
    info: dict[str, Any]

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, floats per crop that the model takes."""

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

    @abstractmethod
    def look_back(self, fps: float | None) -> int:
        """How many segments before a segment its causal score, or what is shown of it, can depend on."""

    def shown(self, evidence: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """(T, C) how much each crop has to do with its segment's score, larger for more; tells where it happens."""
        return evidence if valid is None else np.where(valid, evidence, 0.0)

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What goes to ``model.safetensors``."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What goes to ``model.json`` beside ``info``, fit for JSON."""

    @classmethod
    @abstractmethod
    def restored(cls, arrays: dict[str, np.ndarray], info: dict[str, Any], folder: Path) -> Model:
        """The model of these arrays and this ``model.json``; raises :class:`ClapError` for what is none."""

    def described(self, info: dict[str, Any]) -> Model:
        """The same model with another ``info``."""
        made: Model = replace(self, info=info)  # type: ignore[type-var]  # every kind is a dataclass, this base is not
        return made

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

    def save(self, folder: Path) -> str:
        """Write ``model.safetensors`` and ``model.json`` into ``folder``; returns the arrays' SHA-256."""
        save_arrays(folder / "model.safetensors", self.arrays())
        sha256 = file_sha256(folder / "model.safetensors")
        head = {"schema_version": SCHEMA_VERSION, "kind": self.kind, "model_sha256": sha256}
        write_json(folder / "model.json", {**head, **self.info, **self.description()})
        return sha256

    @staticmethod
    def load(folder: Path) -> Model:
        """Read a model; raises :class:`ClapError` when files are missing, damaged or do not belong together."""
        if not (folder / "model.json").exists():
            raise ClapError(f"{folder}: no model there (model.json is missing); give the folder of a finished run")
        info = read_json(folder / "model.json")
        version = info.get("schema_version") if isinstance(info, dict) else None
        if version != SCHEMA_VERSION:
            raise ClapError(f"{folder / 'model.json'}: schema version {version}; this release reads {SCHEMA_VERSION}")
        kind = info.pop("kind", _NETWORK)
        if kind not in MODELS.names():
            raise ClapError(f"{folder / 'model.json'}: a model of kind {kind!r}, which this release does not know")
        file = folder / "model.safetensors"
        arrays = load_arrays(file)
        if info.get("model_sha256") != file_sha256(file):
            raise ClapError(f"{file}: its SHA-256 is not the one in model.json; the files do not belong together")
        return MODELS[kind].restored(arrays, info, folder)


MODELS: Registry[type[Model]] = Registry("kind of model", "clap_vad.detector.models")
