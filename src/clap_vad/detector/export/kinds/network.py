"""The detector network as a graph."""

from __future__ import annotations

import math

import numpy as np

from ...models.network import NetworkModel
from ...network import LAYERS
from ..graph import Graph, Value
from ..kind import EXPORTERS, Exporter, whole

__all__ = ["NetworkExporter"]


@EXPORTERS.register("network")
class NetworkExporter(Exporter):
    """Standardisation, three layers, the mean over valid regions."""

    model: NetworkModel

    @property
    def width(self) -> int:
        return self.model.dim

    @property
    def preparation(self) -> str:
        return "unchanged" if self.model.normaliser is None else "(x - mean) * scale, the constants of model.json"

    def detector(self, graph: Graph, rows: Value) -> Value:
        found = rows
        for layer in range(1, LAYERS + 1):
            weight, bias = (self.model.weights[f"layer{layer}.{part}"] for part in ("weight", "bias"))
            found = graph.op("Gemm", found, weight, bias, transB=1)
            found = graph.op("Relu" if layer < LAYERS else "Sigmoid", found)
        return graph.where(whole(rows), graph.op("Squeeze", found, [1]), math.nan)

    def evidence(self, graph: Graph, x: Value, valid: Value) -> Value:
        rows = graph.op("Reshape", x, [-1, self.width])
        if (constants := self.model.normaliser) is not None:
            rows = (rows - graph.constant(constants.mean)) * graph.constant(constants.scale)
        found = graph.op("Reshape", self.detector(graph, rows), x.shape(0, 1))
        return graph.where(valid, found, 0.0)

    def scores(self, graph: Graph, evidence: Value, valid: Value, fps: Value, causal: bool) -> tuple[Value, Value]:
        """The mean over valid regions; independent of other segments and of the frame rate."""
        present = graph.op("Max", valid.to(np.float32).sum(1), 1.0)
        return evidence.sum(1) / present, evidence
