"""Export of a model to ONNX graphs, which need neither Python nor torch, and scoring with such graphs."""

from __future__ import annotations

import importlib.util

from ...errors import ClapError

__all__ = ["require_onnx"]


def require_onnx() -> None:
    """Raise :class:`ClapError` if the extra 'export' is not installed; the other modules here need it."""
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ClapError(f"{name} is not installed; pip install 'clap-vad[export]'")
