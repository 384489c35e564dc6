"""Plot of the events of several videos over time, one strip per video."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .canvas import STYLE, drawn, inches, plain, shortened
from .durations import clock
from .palette import PALETTE

__all__ = ["Strip", "event_strips"]

_WIDTH, _TOP, _BOTTOM, _PITCH = 10.0, 0.36, 0.46, 0.3  # inches
_SIZE = 8  # points
_HEADING = "events · highest"
_NARROWEST = 0.004  # share of the axis; shorter events are drawn with this width to be visible


@dataclass(frozen=True)
class Strip:
    """One strip.

    Attributes:
        name, note: printed to its left and right.
        length: length of the video in the unit of the axis.
        events: (start, stop) in the same unit.
        peak: peak of its highest event; None if it has no event.
        target: anchor that the name links to; "" for none.
    """

    name: str
    note: str
    length: float
    events: tuple[tuple[float, float], ...]
    peak: float | None
    target: str = ""


def event_strips(strips: Sequence[Strip], *, seconds: bool, form: str = "svg") -> bytes:
    """Plot the strips from top to bottom. Events are taller and hatched; a triangle marks the highest.

    Args:
        strips: at least one.
        seconds: whether lengths are in seconds; otherwise in frames.
        form: ``svg`` or ``png``.
    """
    with warnings.catch_warnings():  # letters missing in our font are taken from the reader's font
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with mpl.rc_context(STYLE):
            return drawn(_figure(strips, seconds), form)


def _figure(strips: Sequence[Strip], seconds: bool) -> Figure:
    names, notes = [shortened(strip.name, 40) for strip in strips], [strip.note for strip in strips]
    left, right = inches(names, _SIZE) + 0.2, inches([*notes, _HEADING], _SIZE) + 0.2
    height = _TOP + _PITCH * len(strips) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    across, up = _WIDTH - left - right, height - _TOP - _BOTTOM
    axes = figure.add_axes((left / _WIDTH, _BOTTOM / height, across / _WIDTH, up / height))
    longest = max(strip.length for strip in strips) or 1.0
    places = np.arange(len(strips))
    axes.barh(places, [strip.length for strip in strips], height=0.3, color=PALETTE["rule"], label="video")
    label = "event"
    for place, strip in enumerate(strips):
        if strip.events:
            spans = [(start, max(stop - start, _NARROWEST * longest)) for start, stop in strip.events]
            look: dict[str, Any] = {"hatch": "/////", "linewidth": 0.8, "edgecolor": PALETTE["ink"], "label": label}
            axes.broken_barh(spans, (place - 0.3, 0.6), facecolor=PALETTE["event"], **look)
            label = "_"  # one legend entry
    peaks = [(strip.peak, place - 0.42) for place, strip in enumerate(strips) if strip.peak is not None]
    if peaks:
        x, y = zip(*peaks, strict=True)
        look = {"color": PALETTE["limit"], "markeredgecolor": PALETTE["ink"], "clip_on": False}
        axes.plot(x, y, "v", markersize=6, label="highest score of its video", **look)
    axes.set_xlim(0, longest * (1 + _NARROWEST))
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.set_yticks(places, [plain(name) for name in names], fontsize=_SIZE)
    for text, strip in zip(axes.get_yticklabels(), strips, strict=True):
        if strip.target:
            text.set_url(f"#{strip.target}")
    axes.grid(visible=False, axis="y")
    right_axis = axes.secondary_yaxis("right")
    right_axis.set_yticks(places, notes, fontsize=_SIZE)
    right_axis.spines["right"].set_visible(False)
    figure.text(1 - (right - 0.1) / _WIDTH, 1 - (_TOP - 0.09) / height, _HEADING, fontsize=_SIZE)
    axes.set_xlabel("time from the start of each video" if seconds else "frame")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=not seconds, steps=[1, 2, 3, 5, 6, 10]))
    if seconds:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value, tenths=longest < 10)))
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
    return figure
