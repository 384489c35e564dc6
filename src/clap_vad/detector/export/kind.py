"""What the graph of every kind of model has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ...registry import Registry
from .graph import Graph, Value

__all__ = ["EXPORTERS", "Exporter", "finite", "whole"]

_LARGEST = float(np.finfo(np.float32).max)


class Exporter(ABC):
    """Writes one model into graphs.

    Args:
        model: of the kind under which the class is registered.
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    @abstractmethod
    def width(self) -> int:
        """d, floats of a prepared crop."""

    @property
    @abstractmethod
    def preparation(self) -> str:
        """How a crop's D features become its d numbers."""

    @property
    def remembered(self) -> int:
        """How many rows of a site's own features the graphs hold, as they are."""
        return 0

    @abstractmethod
    def detector(self, graph: Graph, rows: Value) -> Value:
        """Prepared crops (n, d) float32 -> their evidence (n,) float32."""

    @abstractmethod
    def evidence(self, graph: Graph, x: Value, valid: Value) -> Value:
        """Raw features (T, C, D) float32 -> (T, C) float32, 0 for an absent crop."""

    @abstractmethod
    def scores(self, graph: Graph, evidence: Value, valid: Value, fps: Value, causal: bool) -> tuple[Value, Value]:
        """Evidence (T, C) -> scores (T,) float32, and how much each crop has to do with them, (T, C) float32."""


EXPORTERS: Registry[type[Exporter]] = Registry("kind of model that can be exported", "clap_vad.detector.export.kinds")


def finite(values: Value) -> Value:
    """Whether each float32 is a number and no infinite one; operators that take a maximum may pass over NaN."""
    return values.graph.op("Abs", values) <= _LARGEST


def whole(rows: Value) -> Value:
    """(n,) whether all of a row is finite."""
    return rows.graph.op("ReduceMin", finite(rows).to(np.float32), [1], keepdims=0) == 1.0
