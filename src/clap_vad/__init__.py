"""Collaborative, label-free video anomaly detection: sites learn together, and no video leaves a site.

``import clap_vad as clap``; each command of the command line is a function here of the same name:

>>> import clap_vad as clap
>>> clap.train.__name__, clap.score.__name__
('train', 'score')
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets.creation import create_dataset
    from .datasets.dataset import Dataset
    from .datasets.partition import partition
    from .datasets.preparation import prepare
    from .detector.model import Model
    from .errors import ClapError
    from .features.extraction import extract_features
    from .features.importing import import_features
    from .features.store import FeatureStore
    from .workflows.alarms import alarms
    from .workflows.compare import compare
    from .workflows.demo import demo
    from .workflows.evaluate import evaluate
    from .workflows.export import export
    from .workflows.label import label
    from .workflows.privacy_audit import privacy_audit
    from .workflows.privacy_ledger import privacy_ledger
    from .workflows.privacy_schemas import privacy_schemas
    from .workflows.report import report
    from .workflows.reproduce import reproduce
    from .workflows.score import score
    from .workflows.train import resume, train
    from .workflows.watch import watch

__all__ = [
    "ClapError",
    "Dataset",
    "FeatureStore",
    "Model",
    "alarms",
    "compare",
    "create_dataset",
    "demo",
    "evaluate",
    "export",
    "extract_features",
    "import_features",
    "label",
    "partition",
    "prepare",
    "privacy_audit",
    "privacy_ledger",
    "privacy_schemas",
    "report",
    "reproduce",
    "resume",
    "score",
    "train",
    "watch",
]

__version__ = version("clap-vad")

# Where each name lives; looked up on first use, so that importing the package loads no heavy library.
_HOMES = {
    "ClapError": "errors",
    "Dataset": "datasets.dataset",
    "FeatureStore": "features.store",
    "Model": "detector.model",
    "create_dataset": "datasets.creation",
    "extract_features": "features.extraction",
    "import_features": "features.importing",
    "partition": "datasets.partition",
    "prepare": "datasets.preparation",
    "resume": "workflows.train",
    **{
        name: f"workflows.{name}"
        for name in (
            "alarms",
            "compare",
            "demo",
            "evaluate",
            "export",
            "label",
            "report",
            "reproduce",
            "score",
            "train",
            "watch",
        )
    },
    **{name: f"workflows.{name}" for name in ("privacy_audit", "privacy_ledger", "privacy_schemas")},
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clap_vad' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
