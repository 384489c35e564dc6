"""``clap export``: write a run's model as ONNX graphs; score with such graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..detector.export import require_onnx
from ..detector.model import Model
from ..detector.scorer import Scorer
from ..errors import ClapError
from .scoring import model_of

__all__ = ["export", "exported_model"]

_FORMATS = ("onnx",)


def export(
    run: Path, out: Path, *, format: str = "onnx", scene: str | None = None, causal: bool = False
) -> dict[str, Any]:
    """Write a run's model as graphs that run without Python and torch.

    Args:
        run: a run folder, or ``RUN/participants/ID`` where each participant has its own model.
        out: folder for ``detector.onnx`` (prepared crops -> evidence), ``model.onnx`` (raw features of a video ->
            scores) and ``export.json``, which describes inputs and outputs.
        format: ``onnx``.
        scene: export the model personalised for this camera; None for the common one.
        causal: compute each score without later segments, as a live stream requires.

    Returns:
        A JSON-able dict: ``run``, ``out``, and the contents of ``export.json``.

    Raises:
        ClapError: no usable model, an unknown format, ``out`` is a file, or the extra 'export' is not installed.
    """
    if format not in _FORMATS:
        raise ClapError(f"--format {format}: known: {', '.join(_FORMATS)}")
    run, out = Path(run), Path(out)
    require_onnx()
    from ..detector.export.files import write_export

    model = model_of(run, scene)
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    return {"run": str(run), "out": str(out), **write_export(model, out, causal=causal, scene=scene)}


def exported_model(folder: Path, model: Model) -> Scorer:
    """Scorer of whole videos by the graph in ``folder``; raises :class:`ClapError` for the graph of another model."""
    require_onnx()
    from ..detector.export.exported import ExportedModel

    scorer = ExportedModel(folder, model)
    if scorer.causal:
        raise ClapError(f"{folder}: this graph is causal, but files are scored as a whole; export without --causal")
    return scorer
