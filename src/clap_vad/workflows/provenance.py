"""Provenance of a model: the run's specification and the package versions that decide its bits."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..specification.run import RunSpecification

__all__ = ["provenance"]

_PACKAGES = ("clap-vad", "numpy", "scikit-learn", "torch")


def provenance(spec: RunSpecification) -> dict[str, Any]:
    """The provenance in ``model.json``; without paths of this machine, because models are shared."""
    return {
        **spec.as_json(),
        "dataset": Path(spec.dataset).name,
        "versions": {**{name: version(name) for name in _PACKAGES}, "python": platform.python_version()},
    }
