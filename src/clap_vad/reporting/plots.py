"""Plots as SVG or PNG bytes: a video's score curve, ROC curves, a quantity per round.

Each function uses its own figure (no global pyplot state) and returns equal bytes for equal input. Colours are those of
Okabe and Ito, distinguishable with any colour vision; lines also differ in dash style.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..core.events.intervals import intervals
from ..core.events.timing import FrameTimes
from .canvas import STYLE, drawn, legend, plain
from .durations import clock
from .palette import PALETTE

__all__ = ["envelope", "roc_curves", "round_curve", "score_curve"]

_LINES = ((PALETTE["curve"], "-"), (PALETTE["limit"], "--"), (PALETTE["second"], "-."), (PALETTE["third"], ":"))
_SHADES = {
    "truth": (PALETTE["truth"], r"\\\\", "anomaly (truth)"),
    "event": (PALETTE["event"], "////", "event"),
}
_COLUMNS = 1000


def score_curve(
    scores: np.ndarray,
    *,
    frames: int,
    fps: float | None,
    segment_frames: int = 16,
    threshold: float | None = None,
    events: Iterable[tuple[int, int]] = (),
    truth: np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
    times: FrameTimes | None = None,
    form: str = "svg",
) -> bytes:
    """Plot the scores of one video over time.

    Args:
        scores: segment scores, shape (T,), T at least 1.
        frames: number of frames of the video.
        fps: frames per second; None gives an axis in frames.
        segment_frames: frames per segment.
        threshold: drawn as a dashed line.
        events: (start, stop) frames to shade.
        truth: 1 at abnormal frames, shape (frames,); shaded.
        limits: lowest and highest score of the axis, to make several curves comparable.
        times: times of the frames; None if they follow from ``fps``.
        form: ``svg`` or ``png``.
    """
    shown = times or FrameTimes.even(frames, 1.0 if fps is None else fps)
    timed = times is not None or fps is not None
    with mpl.rc_context(STYLE):
        figure, axes = _axes(10.0, 2.1)
        _shade(axes, [] if truth is None else intervals(truth).tolist(), shown, "truth")
        _shade(axes, list(events), shown, "event")
        places, values = envelope(np.asarray(scores, dtype=np.float64), segment_frames, frames)
        axes.plot(_moments(places, shown), values, color=PALETTE["curve"], linewidth=1.3, label="score")
        if threshold is not None:
            axes.axhline(threshold, color=PALETTE["limit"], linewidth=1.1, linestyle="--", label="threshold")
        axes.set_xlim(0, max(shown.seconds, 1e-3))
        heights = values if threshold is None else np.append(values, threshold)
        low, high = limits or (heights.min(), heights.max())
        margin = 0.06 * (high - low) or 0.05
        axes.set_ylim(low - margin, high + margin)
        axes.set_ylabel("score")
        axes.set_xlabel("time" if timed else "frame")
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=not timed, steps=[1, 2, 3, 5, 6, 10]))
        if timed:
            tenths = shown.seconds < 10
            axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds, tenths=tenths)))
        legend(axes)
        return drawn(figure, form)


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, form: str = "svg") -> bytes:
    """Plot ROC curves, name -> (false positive rate, true positive rate), with the diagonal of a random score."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(4.4, 4.32)
        axes.plot([0, 1], [0, 1], color=PALETTE["ink"], linewidth=0.8, linestyle=(0, (1, 3)), label="chance")
        for (name, (fpr, tpr)), (color, dash) in zip(curves.items(), _cycle(len(curves)), strict=True):
            keep = _thin(len(fpr))
            axes.plot(np.asarray(fpr)[keep], np.asarray(tpr)[keep], color=color, linestyle=dash, label=plain(name))
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        axes.set_aspect("equal")
        axes.set_xlabel("false positive rate (frames)")
        axes.set_ylabel("true positive rate (frames)")
        axes.legend(loc="lower right")
        return drawn(figure, form)


def round_curve(
    rounds: Sequence[int],
    series: Mapping[str, Sequence[float | None]],
    label: str,
    *,
    from_zero: bool = False,
    form: str = "svg",
) -> bytes:
    """Plot quantities over rounds, name -> one value per round (None if missing); the axis may start at zero."""
    with mpl.rc_context(STYLE):
        figure, axes = _axes(4.4, 2.6)
        for (name, values), (color, dash) in zip(series.items(), _cycle(len(series)), strict=True):
            heights = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
            marker = "o" if len(rounds) <= 60 else ""
            axes.plot(rounds, heights, color=color, linestyle=dash, marker=marker, markersize=3, label=plain(name))
        axes.set_xlabel("round")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.ticklabel_format(axis="y", useOffset=False)
        if from_zero:
            tallest = max((value for values in series.values() for value in values if value is not None), default=0)
            axes.set_ylim(0, 1.15 * tallest or 1)
        if len(series) > 1:
            legend(axes)
        return drawn(figure, form)


def envelope(scores: np.ndarray, segment_frames: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Corner points (frame, score) of the step curve. A long video is drawn by the minimum and maximum of each column.

    So every peak is visible.
    """
    total = len(scores)
    edges = np.minimum(np.arange(total + 1) * segment_frames, frames)
    edges[-1] = frames
    if total <= _COLUMNS:
        return np.repeat(edges, 2)[1:-1].astype(np.float64), np.repeat(scores, 2)
    firsts = np.linspace(0, total, _COLUMNS, endpoint=False).astype(np.int64)
    lows, highs = np.minimum.reduceat(scores, firsts), np.maximum.reduceat(scores, firsts)
    return np.repeat(edges[firsts], 2).astype(np.float64), np.stack((lows, highs), axis=1).ravel()


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    """A plot of ``width`` x ``height`` inches. Margins are fixed, as fitting them to the labels is slow."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    across, up = width - 0.62 - 0.22, height - 0.46 - 0.3
    axes = figure.add_axes((0.62 / width, 0.46 / height, across / width, up / height))
    axes.yaxis.set_label_coords(-0.44 / across, 0.5)
    return figure, axes


def _moments(corners: np.ndarray, times: FrameTimes) -> np.ndarray:
    """Times in seconds of the corners of a step curve: a step lasts from its first frame to the end of its last."""
    frames = corners.astype(np.int64)
    ends = np.arange(len(frames)) % 2 == 1
    return np.where(ends, times.stop(np.maximum(frames, 1)), times.start(frames))


def _shade(axes: Any, stretches: Sequence[Sequence[int]], times: FrameTimes, kind: str) -> None:
    """Shade stretches over the full height, with hatching that is visible without colours."""
    if stretches:
        color, hatch, label = _SHADES[kind]
        starts, stops = np.array(stretches).T
        begins = times.start(starts)
        spans = list(zip(begins.tolist(), (times.stop(stops) - begins).tolist(), strict=True))
        # the height is in axes coordinates: the shade covers the full height, whatever the scores are
        place: dict[str, Any] = {"yrange": (0, 1), "transform": axes.get_xaxis_transform()}
        axes.broken_barh(spans, facecolor=color, alpha=0.25, linewidth=0, **place)
        # in SVG, hatching on the same shape would be as pale as its face
        axes.broken_barh(spans, facecolor="none", edgecolor=color, hatch=hatch, linewidth=0.8, label=label, **place)


def _cycle(count: int) -> list[tuple[str, str]]:
    return [_LINES[position % len(_LINES)] for position in range(count)]


def _thin(points: int, most: int = 600) -> np.ndarray:
    return np.unique(np.linspace(0, points - 1, min(points, most)).astype(np.int64))
