"""Plots of event recall or latency over false alarms per hour."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from .canvas import STYLE, drawn, inches, plain, shortened
from .palette import PALETTE

__all__ = ["QUANTITIES", "alarm_curves"]

QUANTITIES = {"recall": "events detected (share)", "latency_median": "median latency (seconds)"}
"""Quantities that can be plotted over false alarms per hour, with their axis labels."""

_COLORS = tuple(PALETTE[role] for role in ("curve", "limit", "second", "third", "event", "truth"))
_DASHES = ("-", "--", ":")
_WIDTH, _HEIGHT = 7.0, 3.4  # inches
_LEFT, _BOTTOM, _TOP = 0.62, 0.46, 0.16
_SIZE = 8  # points, of the legend
_NAMED = 16  # most scenes with a legend entry


def alarm_curves(report: Mapping[str, Any], quantity: str, form: str = "svg") -> bytes:
    """A step curve per scene (thin) and for all videos (thick); the value at a rate is that of the last point below it.

    Args:
        report: the result of :func:`clap_vad.evaluation.alarms.evaluate_alarms`.
        quantity: a key of :data:`QUANTITIES`.
        form: ``svg`` or ``png``.
    """
    with warnings.catch_warnings():  # letters missing in our font are taken from the reader's font
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with mpl.rc_context(STYLE):
            return drawn(_figure(report, quantity), form)


def _figure(report: Mapping[str, Any], quantity: str) -> Figure:
    scenes = {name: found for name, found in report["per_scene"].items() if found["events"]}
    parts = [report, *scenes.values()]
    named = scenes if len(scenes) <= _NAMED else {}
    labels = [f"{shortened(name, 16)} ({part['events']})" for name, part in {"all": report, **named}.items()]
    title = "scene (events)"
    right = inches([*labels, title], _SIZE) + 0.6
    figure = Figure(figsize=(_WIDTH, _HEIGHT))
    across, up = _WIDTH - _LEFT - right, _HEIGHT - _BOTTOM - _TOP
    axes = figure.add_axes((_LEFT / _WIDTH, _BOTTOM / _HEIGHT, across / _WIDTH, up / _HEIGHT))
    axes.set_xscale("log")
    floor = 0.5 / report["hours"]  # position of zero false alarms on the logarithmic axis
    lines = [_line(part["curve"], quantity, floor) for part in parts]
    handles = axes.plot(*lines[0], color=PALETTE["ink"], linewidth=2.4, drawstyle="steps-post", zorder=3)
    for place, line in enumerate(lines[1:]):
        color, dash = _COLORS[place % len(_COLORS)], _DASHES[place // len(_COLORS) % len(_DASHES)]
        handles += axes.plot(*line, color=color, linestyle=dash, linewidth=0.9, drawstyle="steps-post")
    highest = max(float(places[-1]) for places, _ in lines)
    axes.set_xlim(floor, max(highest, 20 * floor) * 1.1)
    tallest = max(float(np.max(heights, initial=0, where=np.isfinite(heights))) for _, heights in lines)
    axes.set_ylim(*((-0.02, 1.02) if quantity == "recall" else (0, 1.08 * tallest or 1.0)))
    axes.set_xlabel("false alarms per hour (at the left edge: none)")
    axes.set_ylabel(QUANTITIES[quantity])
    axes.yaxis.set_label_coords(-0.44 / across, 0.5)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    handles, texts = handles[: len(labels)], [plain(label) for label in labels]
    axes.legend(handles, texts, title=title, title_fontsize=_SIZE, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _line(curve: Mapping[str, Sequence[Any]], quantity: str, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the step curve; NaN where a rate has no value."""
    rates = np.maximum.accumulate(np.array(curve["false_alarms_per_hour"], np.float64))
    heights = np.array([np.nan if value is None else value for value in curve[quantity]], np.float64)
    last = np.append(rates[1:] > rates[:-1], True)  # of points with the same rate, the lowest threshold counts
    places, heights = np.maximum(rates[last], floor), heights[last]
    if quantity == "recall" and places[0] > floor:  # without any alarm no event is detected
        return np.append(floor, places), np.append(0.0, heights)
    return places, heights
