"""The files of an export.

DIR/detector.onnx     prepared features of regions -> region scores (``evidence``)
DIR/model.onnx        raw features of a video -> its scores: preparation, detector, aggregation over regions and time
DIR/export.json       inputs, outputs, model, SHA-256 of both graphs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from ...errors import ClapError
from ...persistence import read_json, write_bytes, write_json
from ..model import Model
from .graph import OPSET, Graph
from .kind import EXPORTERS, Exporter

__all__ = ["read_export", "write_export"]

SCHEMA_VERSION = 1

_MEANING = {
    "rows": "prepared features of regions: {preparation}",
    "features": "raw features of C regions in T segments",
    "valid": "whether a region is valid; true for all if the extractor always fills all regions",
    "fps": "frames per second of the video; 0 if unknown",
    "evidence": "score of each region; NaN if its features are not finite",
    "scores": "score of each segment, 0 to 1; NaN at and near segments with features that are not finite",
    "shown": "contribution of each region to its segment's score; larger means more",
}


def write_export(model: Model, folder: Path, *, causal: bool = False, scene: str | None = None) -> dict[str, Any]:
    """Write a model's export; equal models give equal bytes.

    Args:
        model: as read from a run.
        folder: destination.
        causal: outputs of a segment depend on past segments only.
        scene: scene of a personalised model, for ``export.json``.

    Returns:
        Contents of ``export.json``.

    Raises:
        ClapError: this kind of model cannot be exported.
    """
    if model.kind not in EXPORTERS.names():
        raise ClapError(f"a model of kind '{model.kind}' cannot be exported; known: {', '.join(EXPORTERS.names())}")
    exporter = EXPORTERS[model.kind](model)
    description = _description(exporter, causal, scene)
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in description.items()}
    graphs = {
        "detector.onnx": _detector(exporter).model("detector", metadata),
        "model.onnx": _whole(exporter, causal).model("model", metadata),
    }
    files = {}
    for name, graph in graphs.items():
        data = graph.SerializeToString(deterministic=True)
        write_bytes(folder / name, data)
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), **_ends(graph, exporter)}
    content = {"schema_version": SCHEMA_VERSION, "format": "onnx", "opset": OPSET, **description, "files": files}
    write_json(folder / "export.json", content)
    return content


def read_export(folder: Path, model: Model) -> tuple[dict[str, Any], bytes]:
    """``export.json`` and ``model.onnx`` of a model's export.

    Raises:
        ClapError: there is no export, it is of another model, or a file was changed.
    """
    file = folder / "export.json"
    if not file.exists():
        raise ClapError(f"{folder}: no export found (export.json is missing); create one with 'clap export'")
    content = read_json(file)
    try:
        schema, of, expected = (
            content["schema_version"],
            content["model_sha256"],
            content["files"]["model.onnx"]["sha256"],
        )
        complete = type(content["causal"]) is bool
    except (KeyError, TypeError):
        complete = False
    if not complete or schema != SCHEMA_VERSION:
        raise ClapError(f"{file}: not an export description that this release can read; export again")
    if of != model.info.get("model_sha256"):
        raise ClapError(f"{folder}: exported from another model than the run's (or the scene's); export that model")
    graph = folder / "model.onnx"
    data = graph.read_bytes() if graph.is_file() else b""
    if hashlib.sha256(data).hexdigest() != expected:
        raise ClapError(f"{graph}: missing, or its SHA-256 differs from export.json; export again")
    return content, data


def _description(exporter: Exporter, causal: bool, scene: str | None) -> dict[str, Any]:
    """Description of the model for ``export.json`` and each graph's metadata."""
    model: Model = exporter.model
    calibration = model.info.get("calibration") or {}
    return {
        "clap_vad": version("clap-vad"),
        "kind": model.kind,
        "model_sha256": model.info.get("model_sha256"),
        "scene": scene,
        "causal": causal,
        "extractor": model.info.get("extractor"),
        "weights_sha256": model.info.get("weights_sha256"),
        "segment_frames": model.info.get("segment_frames"),
        "dim": model.dim,
        "threshold": calibration.get("threshold"),
        "quantile": calibration.get("quantile"),
        "remembered": exporter.remembered,
    }


def _detector(exporter: Exporter) -> Graph:
    graph = Graph()
    rows = graph.input("rows", np.float32, ["N", exporter.width])
    graph.output("evidence", exporter.detector(graph, rows), ["N"])
    return graph


def _whole(exporter: Exporter, causal: bool) -> Graph:
    """The whole graph; ``evidence`` is an output so that the graph can be split there."""
    graph = Graph()
    x = graph.input("features", np.float32, ["T", "C", exporter.model.dim])
    valid = graph.input("valid", bool, ["T", "C"])
    fps = graph.input("fps", np.float64, [])
    evidence = graph.output("evidence", exporter.evidence(graph, x, valid), ["T", "C"])
    scores, shown = exporter.scores(graph, evidence, valid, fps, causal)
    graph.output("scores", scores, ["T"])
    graph.output("shown", shown, ["T", "C"])
    return graph


def _ends(model: ModelProto, exporter: Exporter) -> dict[str, Any]:
    """Inputs and outputs for ``export.json``."""

    def described(infos: Iterable[Any]) -> list[dict[str, Any]]:
        return [
            {
                "name": info.name,
                "type": np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)).name,
                "shape": [size.dim_param or size.dim_value for size in info.type.tensor_type.shape.dim],
                "what": _MEANING[info.name].format(preparation=exporter.preparation),
            }
            for info in infos
        ]

    return {"inputs": described(model.graph.input), "outputs": described(model.graph.output)}
