"""Where a model comes from: the run's choices and the versions that decide its bits."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..specification.run import RunSpecification

__all__ = ["provenance"]

_PACKAGES = ("clap-vad", "numpy", "scikit-learn", "torch")


def provenance(spec: RunSpecification) -> dict[str, Any]:
    """What ``model.json`` says about the model's origin; no paths of the machine, for a model travels."""
    return {
        **spec.as_json(),
        "dataset": Path(spec.dataset).name,
        "versions": {**{name: version(name) for name in _PACKAGES}, "python": platform.python_version()},
    }
