"""The common interface for exporting each kind of model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ...registry import Registry
from .graph import Graph, Value

__all__ = ["EXPORTERS", "Exporter", "finite", "whole"]

_LARGEST = float(np.finfo(np.float32).max)


class Exporter(ABC):
    """Writes one model as graphs.

    Args:
        model: a model of the kind under which the class is registered.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    @abstractmethod
    def width(self) -> int:
        """d, numbers per prepared region."""

    @property
    @abstractmethod
    def preparation(self) -> str:
        """How a crop's D features become its d numbers."""

    @property
    def remembered(self) -> int:
        """Number of rows of a site's own features that the graphs contain unchanged."""
        return 0

    @abstractmethod
    def detector(self, graph: Graph, rows: Value) -> Value:
        """Prepared regions (n, d) float32 -> region scores (n,) float32."""

    @abstractmethod
    def evidence(self, graph: Graph, x: Value, valid: Value) -> Value:
        """Raw features (T, C, D) float32 -> region scores (T, C) float32, 0 if invalid."""

    @abstractmethod
    def scores(self, graph: Graph, evidence: Value, valid: Value, fps: Value, causal: bool) -> tuple[Value, Value]:
        """Region scores (T, C) -> segment scores (T,) float32 and contributions (T, C) float32."""


EXPORTERS: Registry[type[Exporter]] = Registry("kind of model that can be exported", "clap_vad.detector.export.kinds")


def finite(values: Value) -> Value:
    """Whether each float32 is finite; a maximum cannot be used, because it may ignore NaN."""
    return values.graph.op("Abs", values) <= _LARGEST


def whole(rows: Value) -> Value:
    """(n,) whether all entries of a row are finite."""
    return rows.graph.op("ReduceMin", finite(rows).to(np.float32), [1], keepdims=0) == 1.0
