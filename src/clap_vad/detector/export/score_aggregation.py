"""``core/density/score_aggregation`` as graphs: aggregation along objects, over regions and over time.

Memory and time are linear in the length of the video.
"""

from __future__ import annotations

import math

import numpy as np

from ...core.density.score_aggregation import KEPT, REACH, WITHIN
from ...core.events.detection import ASSUMED_FPS
from .graph import Graph, Value

__all__ = ["along_objects", "largest", "smoothed", "squashed"]


def along_objects(graph: Graph, surprise: Value, valid: Value, gap: int, causal: bool) -> Value:
    """``core.density.score_aggregation.along_objects``, (T, C) float32; ``surprise`` is 0 where a slot is invalid.

    Objects are numbered per track slot: a new object begins if a slot is valid after more than ``gap`` invalid
    segments. The video is then compared with itself at each of up to 25 shifts: values of the same object are summed,
    and the few largest are tracked and subtracted in the end.
    """
    ahead = 0 if causal else WITHIN
    kept = [math.ceil(KEPT * n) for n in range(WITHIN + ahead + 2)]
    left_out = [n - k for n, k in enumerate(kept)]
    T = surprise.shape(0)
    number = _numbered(graph, valid, gap, T)
    around = graph.op("Pad", number, [WITHIN, 0, ahead, 0], graph.constant(-1, number.dtype))
    shifted = graph.op("Pad", surprise, [WITHIN, 0, ahead, 0])
    zero = surprise * 0  # NaN where the surprise is NaN, so that it affects its own object only

    def add(at: Value, states: list[Value]) -> list[Value]:
        total, count, *top = states
        first = graph.op("Unsqueeze", at, [0])
        same = (around.part(first, first + T) == number) & valid
        value = graph.where(same, shifted.part(first, first + T), 0.0)
        total, count = total + value, count + same.to(np.int64)
        for place, held in enumerate(top):
            top[place], value = graph.op("Max", held, value), graph.op("Min", held, value)
        return [total, count, *top]

    start = [zero, number * 0, *[zero] * max(left_out)]
    total, count, *top = graph.loop(graph.constant(WITHIN + 1 + ahead, np.int64), start, add)
    least = graph.op("Gather", np.array(left_out), count, axis=0)
    for place, value in enumerate(top):
        total = total - graph.where(graph.constant(place, np.int64) < least, value, 0.0)
    among = graph.op("Gather", np.maximum(kept, 1).astype(np.float32), count, axis=0, dtype=np.float32)
    return graph.where(valid, total / among, 0.0)


def _numbered(graph: Graph, valid: Value, gap: int, T: Value) -> Value:
    """(T, C) int64, number of the object in each track slot; -1 if the slot is invalid."""
    present = valid.to(np.int64)
    before = graph.op("Pad", present, [gap + 1, 0, 0, 0])
    lately = present * 0
    for back in range(gap + 1):
        lately = graph.op("Max", lately, before.part(back, T + back))
    return graph.where(valid, graph.op("CumSum", present * (lately * -1 + 1), graph.constant(0, np.int64)), -1)


def largest(graph: Graph, surprise: Value) -> Value:
    """Maximum over regions, (T, C), 0 where invalid -> (T,) float64; the sum propagates NaN, as ReduceMax may not."""
    return (surprise.max(1) + surprise.sum(1) * 0).to(np.float64)


def smoothed(graph: Graph, surprise: Value, fps: Value, seconds: float, segment_frames: int, causal: bool) -> Value:
    """:func:`~clap_vad.core.density.score_aggregation.over_time`, (T,) float64; an ``fps`` of 0 means unknown.

    A row of ones is processed along with the surprise to obtain the sum of the weights.
    """
    rate = graph.where(graph.constant(0.0) < fps, fps, ASSUMED_FPS)
    # The same order of operations as in the model: rounding decides the reach.
    sigma = rate * seconds / float(segment_frames)
    T = surprise.shape(0)
    last = (graph.op("Squeeze", T, [0]) - 1).to(np.float64)
    reach = graph.op("Max", graph.op("Ceil", graph.op("Min", sigma * REACH, last)).to(np.int64), 0)
    rows = graph.op(
        "Concat", graph.op("Unsqueeze", surprise, [0]), graph.op("Unsqueeze", surprise * 0 + 1, [0]), axis=0
    )
    width = graph.op("Unsqueeze", reach, [0])
    room = graph.op("Concat", [0], width, [0], width, axis=0, dtype=np.int64)
    padded = graph.op("Pad", rows, room)

    def add(at: Value, states: list[Value]) -> list[Value]:
        away = at + 1
        distance = away.to(np.float64) / sigma
        weight = graph.op("Exp", distance * distance * -0.5)
        step = graph.op("Unsqueeze", away, [0])
        near = padded.part(width - step, width - step + T, axis=1)
        if not causal:
            near = near + padded.part(width + step, width + step + T, axis=1)
        return [states[0] + near * weight]

    (found,) = graph.loop(reach, [rows], add)
    total, weights = (graph.op("Squeeze", found.part(row, row + 1), [0]) for row in (0, 1))
    return total / weights


def squashed(graph: Graph, surprise: Value) -> Value:
    """:func:`~clap_vad.core.density.score_aggregation.squashed`."""
    return (surprise / (surprise + 1)).to(np.float32)
