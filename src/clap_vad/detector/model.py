"""The saved model: arrays without code, and a description with everything needed to use them.

Each kind of model is one file in ``detector/models/``.
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
"""Kind of a ``model.json`` that states none."""


class Model(Scorer):
    """A model with its description.

    Attributes:
        kind: name under which it is registered.
        info: contents of ``model.json`` except for the entries of its kind: ``extractor`` {name, settings},
            ``segment_frames``, ``dim``, ``calibration`` {quantile, threshold, quantiles}, provenance.
    """

    kind: ClassVar[str]
    info: dict[str, Any]

    @abstractmethod
    def look_back(self, fps: float | None) -> int:
        """Number of earlier segments on which a segment's causal score and contributions can depend."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays for ``model.safetensors``."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Entries for ``model.json`` in addition to ``info``, ready for JSON."""

    @classmethod
    @abstractmethod
    def restored(cls, arrays: dict[str, np.ndarray], info: dict[str, Any], folder: Path) -> Model:
        """The model from these arrays and this ``model.json``.

        Raises:
            ClapError: they do not describe a valid model.
        """

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
        """Read a model.

        Raises:
            ClapError: files are missing, damaged or do not belong together.
        """
        if not (folder / "model.json").exists():
            raise ClapError(f"{folder}: no model found (model.json is missing); give the folder of a finished run")
        info = read_json(folder / "model.json")
        version = info.get("schema_version") if isinstance(info, dict) else None
        if version != SCHEMA_VERSION:
            raise ClapError(f"{folder / 'model.json'}: schema version {version}; this release reads {SCHEMA_VERSION}")
        kind = info.pop("kind", _NETWORK)
        if kind not in MODELS.names():
            raise ClapError(f"{folder / 'model.json'}: this release does not know models of kind {kind!r}")
        file = folder / "model.safetensors"
        arrays = load_arrays(file)
        if info.get("model_sha256") != file_sha256(file):
            raise ClapError(f"{file}: its SHA-256 differs from model.json; the files do not belong together")
        return MODELS[kind].restored(arrays, info, folder)


MODELS: Registry[type[Model]] = Registry("kind of model", "clap_vad.detector.models")
