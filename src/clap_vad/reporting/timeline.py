"""Plot of a camera over hours or days: scores, events and outages."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .canvas import STYLE, drawn, legend
from .durations import clock
from .palette import PALETTE

__all__ = ["camera_timeline"]

_TICKS = 7


def camera_timeline(
    edges: np.ndarray,
    highest: np.ndarray,
    *,
    threshold: float,
    events: Sequence[tuple[float, float]],
    outages: Sequence[tuple[float, float]],
    wall: bool,
    form: str = "svg",
) -> bytes:
    """Plot the timeline of a camera as SVG or PNG.

    Args:
        edges: (n + 1,) bin edges in seconds; with ``wall`` since 1970, shown in UTC.
        highest: (n,) highest score per bin; NaN for bins without a score.
        threshold: threshold of the events.
        events, outages: (start, stop) in seconds.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.9))
        axes = figure.add_axes((0.06, 0.2, 0.89, 0.66))
        top = max(threshold * 1.25, float(np.nanmax(highest, initial=0.0)) * 1.08)
        axes.stairs(highest, edges, color=PALETTE["curve"], linewidth=1.2, label="highest score")
        axes.axhline(threshold, color=PALETTE["limit"], linestyle="--", linewidth=1, label="threshold")
        span = max(float(edges[-1] - edges[0]), 1e-9)
        for number, (start, stop) in enumerate(outages):
            axes.axvspan(
                *(start, max(stop, start + span / 300)),
                facecolor="none",
                edgecolor=PALETTE["ink"],
                hatch="////",
                linewidth=0,
                alpha=0.5,
                label="" if number else "no picture",
            )
        for number, (start, stop) in enumerate(events):
            label = "" if number else "event"
            axes.plot(
                [start, stop], [top * 0.97] * 2, color=PALETTE["limit"], linewidth=5, solid_capstyle="butt", label=label
            )
            axes.plot((start + stop) / 2, top * 0.9, marker="v", color=PALETTE["limit"], markersize=5)
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        axes.set_ylim(0, top)
        ticks = np.linspace(edges[0], edges[-1], _TICKS)
        axes.set_xticks(ticks, [_tick(float(t), span, wall) for t in ticks])
        axes.grid(axis="x", visible=False)
        legend(axes)
        return drawn(figure, form)


def _tick(seconds: float, span: float, wall: bool) -> str:
    if not wall:
        return clock(seconds, tenths=span < 60)
    form = "%H:%M:%S" if span < 3600 else "%H:%M" if span < 86400 else "%d %b %H:%M"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime(form)
