"""Plot of a partition: stacked bars of normal, anomalous and unlabelled videos per participant."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ..errors import ClapError
from .canvas import STYLE, drawn, inches, legend, plain, shortened
from .palette import PALETTE

__all__ = ["participant_bars", "picture_form"]

_COLORS = {"normal": PALETTE["curve"], "anomalous": PALETTE["truth"], "unlabelled": PALETTE["rule"]}
_WIDTH, _TOP, _BOTTOM = 7.0, 0.36, 0.46  # inches
_SIZE = 8  # points, of ids and totals


def participant_bars(rows: Sequence[Mapping[str, Any]], *, title: str = "", form: str = "svg") -> bytes:
    """Plot the number of videos of each participant, like the partition figures of the CLAP paper.

    Bars are horizontal, so that ids and totals of fifty participants are readable; the first participant is on top.

    Args:
        rows: one per participant, from :func:`clap_vad.datasets.partition.describe_participants`: ``id``, ``videos``,
            and the numbers of ``normal``, ``anomalous`` and ``unlabelled`` videos.
        title: printed above the bars.
        form: ``svg`` or ``png``.
    """
    with warnings.catch_warnings():  # letters missing in our font are taken from the reader's font
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with mpl.rc_context(STYLE):
            return drawn(_figure(rows, title), form)


def _figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    ids, totals = [shortened(row["id"]) for row in rows], [f"{row['videos']:,}" for row in rows]
    pitch = min(max(4.0 / len(rows), 0.17), 0.32)
    left, right = inches(ids, _SIZE) + 0.16, inches(totals, _SIZE) + 0.14
    height = _TOP + pitch * len(rows) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    across, up = _WIDTH - left - right, height - _TOP - _BOTTOM
    axes = figure.add_axes((left / _WIDTH, _BOTTOM / height, across / _WIDTH, up / height))
    places, starts = np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for kind, color in _COLORS.items():
        counts = np.array([row[kind] for row in rows], dtype=np.int64)
        if counts.any():
            axes.barh(places, counts, height=0.74, left=starts, color=color, label=kind)
        starts = starts + counts
    for place, (start, total) in enumerate(zip(starts.tolist(), totals, strict=True)):
        axes.annotate(total, (start, place), (3, 0), textcoords="offset points", va="center_baseline", fontsize=_SIZE)
    axes.set_xlim(0, max(starts.max(), 1))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(places, [plain(name) for name in ids], fontsize=_SIZE)
    axes.grid(visible=False)  # the bars show their totals
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlabel("training videos")
    if starts.any():
        legend(axes)
    figure.text(0.08 / _WIDTH, 1 - (_TOP - 0.09) / height, plain(shortened(title, 40)))
    return figure


def picture_form(file: Path) -> str:
    """``svg`` or ``png``, from the suffix; raises :class:`ClapError` for another suffix.

    >>> picture_form(Path("shares.PNG"))
    'png'
    """
    form = file.suffix.lower().removeprefix(".")
    if form not in ("svg", "png"):
        raise ClapError(f"{file}: unknown picture format; use a name that ends with .svg or .png")
    return form
