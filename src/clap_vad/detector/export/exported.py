"""Scoring with an exported graph: onnxruntime instead of numpy and torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from ...errors import ClapError
from ..model import Model
from ..scorer import Scorer
from .files import read_export
from .graph import cut

__all__ = ["ExportedModel"]


class ExportedModel(Scorer):
    """``model.onnx``, split at the output ``evidence`` (region scores), so that a video is processed block by block.

    Args:
        folder: folder of the export.
        model: the model that must have been exported.

    Raises:
        ClapError: see :func:`~clap_vad.detector.export.files.read_export`; or onnxruntime cannot run the graph.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        content, data = read_export(folder, model)
        self.causal = bool(content["causal"])
        self._folder, self._dim = folder, model.dim
        try:
            whole = onnx.load_model_from_string(data)
            self._front = _session(cut(whole, ["features", "valid"], ["evidence"]))
            self._back = _session(cut(whole, ["evidence", "valid", "fps"], ["scores", "shown"]))
        except Exception as error:  # protobuf, onnx and onnxruntime have no common base class
            why = str(error).split("\n")[0]
            raise ClapError(f"{folder / 'model.onnx'}: the graph cannot be run ({why}); export again") from None

    @property
    def dim(self) -> int:
        return self._dim

    def evidence(self, x: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        present = np.ones(x.shape[:2], bool) if valid is None else valid
        return _run(self._front, "evidence", features=np.asarray(x, np.float32), valid=present)

    def scores(
        self, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None, causal: bool = False
    ) -> np.ndarray:
        if causal != self.causal:
            kind = "is causal" if self.causal else "needs whole videos"
            raise ClapError(f"{self._folder}: this graph {kind}; export {'with' if causal else 'without'} --causal")
        return self._aggregated("scores", evidence, valid, fps)

    def contributions(self, evidence: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        return self._aggregated("shown", evidence, valid, None)

    def _aggregated(self, output: str, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None) -> np.ndarray:
        present = np.ones(evidence.shape, bool) if valid is None else valid
        rate = np.array(fps or 0.0, np.float64)
        return _run(self._back, output, evidence=evidence, valid=present, fps=rate)


def _session(model: onnx.ModelProto) -> Any:
    """A session with one thread, so that scores do not depend on the number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; the other messages concern speed
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _run(session: Any, output: str, **inputs: np.ndarray) -> np.ndarray:
    found: np.ndarray = session.run([output], inputs)[0]
    return found
