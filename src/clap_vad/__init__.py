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
    from .audit.audit import privacy_audit
    from .datasets.creation import create_dataset
    from .datasets.dataset import Dataset
    from .datasets.partition import partition
    from .datasets.preparation import prepare
    from .detector.model import Model
    from .errors import ClapError
    from .experiments.compare import compare
    from .experiments.reproduce import reproduce
    from .features.extraction.extract import extract_features
    from .features.importing.importer import import_features
    from .features.store.reader import FeatureStore
    from .specification.run import Privacy
    from .workflows.alarms import alarms
    from .workflows.demo import demo
    from .workflows.evaluate import evaluate
    from .workflows.export import export
    from .workflows.label import label
    from .workflows.ledger import privacy_ledger
    from .workflows.report import report
    from .workflows.schemas import privacy_schemas
    from .workflows.score import score
    from .workflows.train import resume, train
    from .workflows.watch import watch

__all__ = [
    "ClapError",
    "Dataset",
    "FeatureStore",
    "Model",
    "Privacy",
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
_PLACES = {
    "ClapError": "errors",
    "Dataset": "datasets.dataset",
    "FeatureStore": "features.store.reader",
    "Model": "detector.model",
    "Privacy": "specification.run",
    "create_dataset": "datasets.creation",
    "extract_features": "features.extraction.extract",
    "import_features": "features.importing.importer",
    "partition": "datasets.partition",
    "prepare": "datasets.preparation",
    "compare": "experiments.compare",
    "privacy_audit": "audit.audit",
    "privacy_ledger": "workflows.ledger",
    "privacy_schemas": "workflows.schemas",
    "reproduce": "experiments.reproduce",
    "resume": "workflows.train",
    **{
        name: f"workflows.{name}"
        for name in (
            "alarms",
            "demo",
            "evaluate",
            "export",
            "label",
            "report",
            "score",
            "train",
            "watch",
        )
    },
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'clap_vad' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value
