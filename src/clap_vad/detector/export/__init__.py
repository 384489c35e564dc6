"""A model as ONNX graphs, which run where neither Python nor torch does, and such graphs as what scores videos."""

from __future__ import annotations

import importlib.util

from ...errors import ClapError

__all__ = ["require_onnx"]


def require_onnx() -> None:
    """Raise :class:`ClapError` where the extra 'export' is not installed; the other modules here need it."""
    for name in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ClapError(f"{name} is not installed; pip install 'clap-vad[export]'")
