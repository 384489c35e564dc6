"""The mixture model as a graph: the steps of ``detector/models/mixture`` and ``core/``.

Computed in double precision up to the surprise, because squares of distant rows cancel; in single precision after it.
"""

from __future__ import annotations

import math

import numpy as np

from ....core.density.gaussian_mixture import CUT
from ....core.density.memory import NEIGHBOURS
from ....core.density.surprise import SHAPE, SURPRISE_BINS, TAIL, Surprise
from ....features.roles import SAME_WITHIN
from ...models.mixture import BROAD_VARIANCE, SMOOTHING_SECONDS, Density, MixtureModel, Remembered
from ..graph import Graph, Value
from ..kind import EXPORTERS, Exporter, finite, whole
from ..score_aggregation import along_objects, largest, smoothed, squashed

__all__ = ["MixtureExporter"]

_BLOCK = 256
"""Regions scored at once; this bounds memory for videos of any length."""


@EXPORTERS.register("mixture")
class MixtureExporter(Exporter):
    """Weighted mean of the experts' surprise, aggregated along objects, over regions and over time."""

    model: MixtureModel

    @property
    def width(self) -> int:
        return self.model.projection.dim

    @property
    def preparation(self) -> str:
        projected = "" if self.model.projection.matrix is None else ", times the projection"
        return (
            f"the columns{projected}, (x - mean) * scale, clipped to +-{CUT:g}; NaN where not finite; "
            "the arrays are in model.safetensors"
        )

    @property
    def remembered(self) -> int:
        return sum(len(expert.rows) for expert in self.model.experts if isinstance(expert, Remembered))

    def detector(self, graph: Graph, rows: Value) -> Value:
        """In blocks; the last one is padded with zeros, so that there is at least one."""
        size = rows.shape(0)
        block = graph.op("Min", size + 1, _BLOCK)
        blocks = size / block + 1
        fill = graph.op("Concat", [0, 0], blocks * block - size, [0], axis=0, dtype=np.int64)
        cube = graph.op("Concat", blocks, block, [self.width], axis=0)
        surprise = graph.each(
            graph.op("Reshape", graph.op("Pad", rows, fill), cube), lambda part: self._mean_surprise(graph, part)
        )
        return graph.op("Reshape", surprise, [-1]).part(0, size)

    def evidence(self, graph: Graph, x: Value, valid: Value) -> Value:
        """Only valid regions are processed; with many track slots most are invalid."""
        flat = graph.op("Reshape", valid, [-1])
        rows = graph.op("Compress", graph.op("Reshape", x, [-1, self.model.dim]), flat, axis=0)
        found = self.detector(graph, self._prepared(graph, rows))
        at = graph.op("Transpose", graph.op("NonZero", flat, dtype=np.int64), perm=[1, 0])
        none = flat.to(np.float32) * 0
        return graph.op("Reshape", graph.op("ScatterND", none, at, found), x.shape(0, 1))

    def scores(self, graph: Graph, evidence: Value, valid: Value, fps: Value, causal: bool) -> tuple[Value, Value]:
        found = along_objects(graph, evidence, valid, SAME_WITHIN, causal) if self.model.followed else evidence
        frames = int(self.model.info["segment_frames"])
        scores = smoothed(graph, largest(graph, found), fps, SMOOTHING_SECONDS, frames, causal)
        return squashed(graph, scores), squashed(graph, found)

    def _prepared(self, graph: Graph, rows: Value) -> Value:
        """(n, D) -> (n, d) float32, :meth:`~clap_vad.core.density.projection.Projection.rows`."""
        projection = self.model.projection
        assert projection.normaliser is not None  # every model has one
        found = rows.columns(projection.columns)
        if projection.matrix is not None:
            found = graph.op("MatMul", found, projection.matrix)
        constants = projection.normaliser
        standardised = (found - graph.constant(constants.mean)) * graph.constant(constants.scale)
        clipped = graph.op("Clip", standardised, graph.constant(-CUT, np.float32), graph.constant(CUT, np.float32))
        known = finite(found) & graph.op("Not", graph.op("IsNaN", standardised, dtype=bool))
        return graph.where(known, clipped, math.nan)

    def _mean_surprise(self, graph: Graph, rows: Value) -> Value:
        """(n, d) float32 -> (n,) float32, NaN if not finite."""
        wide = graph.where(finite(rows), rows, 0.0).to(np.float64)
        total = sum(expert.share for expert in self.model.experts)
        found = None
        for expert in self.model.experts:
            part = self._surprise(graph, wide, expert) * (expert.share / total)
            found = part if found is None else found + part
        assert found is not None  # every model has experts
        return graph.where(whole(rows), found.to(np.float32), math.nan)

    def _surprise(self, graph: Graph, rows: Value, expert: Density | Remembered) -> Value:
        if isinstance(expert, Remembered):
            return _surprise(graph, _distance(graph, rows, expert.rows), Surprise(expert.counts))
        return _surprise(graph, _log_likelihood_ratio(graph, rows, expert), Surprise(expert.counts))


def _log_likelihood_ratio(graph: Graph, rows: Value, expert: Density) -> Value:
    """(n,) of (n, d) rows, :func:`~clap_vad.detector.models.mixture.log_likelihood_ratio`."""
    table = expert.mixture.logarithm
    own = rows.columns(expert.columns)
    i, j = np.triu_indices(expert.mixture.dim)
    monomials = graph.op("Concat", own, own.columns(i) * own.columns(j), axis=1)
    logs = graph.op("MatMul", monomials, table[1:]) + graph.constant(table[0])
    top = logs.max(1, keepdims=1)
    each = graph.op("Log", graph.op("Exp", logs - top).sum(1)) + graph.op("Squeeze", top, [1])
    return each * -1 - (own * own).sum(1) / (2 * BROAD_VARIANCE)


def _distance(graph: Graph, rows: Value, remembered: np.ndarray) -> Value:
    """(n,) of (n, d) rows, :class:`~clap_vad.core.density.memory.Memory`."""
    known = graph.constant(remembered).to(np.float64)
    squares = np.square(remembered.astype(np.float64)).sum(axis=1)
    apart = graph.op("MatMul", rows, graph.op("Transpose", known, perm=[1, 0])) * -2 + graph.constant(squares)
    apart = apart + graph.op("Unsqueeze", (rows * rows).sum(1), [1])
    near = graph.first("TopK", apart, [NEIGHBOURS], outputs=2, axis=1, largest=0, sorted=0)
    return graph.op("Sqrt", graph.op("Max", near, 0.0)).sum(1) / NEIGHBOURS


def _surprise(graph: Graph, values: Value, surprise: Surprise) -> Value:
    """(n,) surprise of (n,) values, as ``core.density.surprise.Surprise``; its edges are equally spaced in asinh."""
    edges, below, total, start, scale = surprise.parts
    if total == 0:
        return values * 0
    size = graph.op("Abs", values)
    asinh = graph.op("Sign", values) * graph.op("Log", size + graph.op("Sqrt", size * size + 1))
    place = (asinh - float(edges[0])) * (SURPRISE_BINS / float(edges[-1] - edges[0]))
    place = graph.op("Clip", place, graph.constant(0.0), graph.constant(float(SURPRISE_BINS)))
    left = graph.op("Min", place.to(np.int64), SURPRISE_BINS - 1)
    table = np.append(below, below[-1]).astype(np.float64)
    low, high = (graph.op("Gather", graph.constant(table), at, axis=0, dtype=np.float64) for at in (left, left + 1))
    at = low + (high - low) * (place - left.to(np.float64))
    most = -math.log(1 - TAIL)
    body = graph.op("Log", graph.constant(float(total + 1)) / (at * -1 + float(total + 1)))
    beyond = graph.op("Max", values - start, 0.0) / scale
    far = graph.op("Log", beyond + 1) / SHAPE + most
    return graph.op("Where", graph.constant(start) < values, far, graph.op("Min", body, most), dtype=np.float64)
