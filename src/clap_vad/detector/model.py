"""The saved model: arrays without code, and beside them everything that is needed to use them.

A kind of model is one file in ``detector/models/``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import ClapError
from ..persistence import file_sha256, load_arrays, read_json, save_arrays, write_json
from ..registry import Registry
from .scorer import Scorer

__all__ = ["MODELS", "SCHEMA_VERSION", "Model"]

SCHEMA_VERSION = 1
_NETWORK = "network"
"""What a ``model.json`` without a kind describes."""


class Model(Scorer):
    """A model with its description.

    Attributes:
        kind: under which it is registered.
        info: contents of ``model.json`` but for what the kind adds itself: ``extractor`` {name, settings},
            ``segment_frames``, ``dim``, ``calibration`` {quantile, threshold, quantiles}, provenance.
    """

    kind: ClassVar[str]
    info: dict[str, Any]

    @abstractmethod
    def look_back(self, fps: float | None) -> int:
        """How many segments before a segment its causal score, or what is shown of it, can depend on."""

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
