"""Plot of a comparison: one mark per row with the standard deviation over seeds; baselines have another mark."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .canvas import STYLE, drawn, inches, legend, plain, shortened
from .palette import PALETTE

__all__ = ["ComparedRow", "comparison_marks"]

_WIDTH, _TOP, _BOTTOM, _PITCH = 7.0, 0.36, 0.46, 0.24  # inches
_SIZE = 8  # points


@dataclass(frozen=True)
class ComparedRow:
    """One row of a comparison.

    Attributes:
        name: label of the row.
        mean: mean over seeds, percent.
        deviation: standard deviation over seeds, percent; None for a single seed.
        published: published value, percent; None if there is none.
        baseline: True if it trains no detector.
    """

    name: str
    mean: float
    deviation: float | None
    published: float | None
    baseline: bool


def comparison_marks(rows: Sequence[ComparedRow], axis: str, form: str = "svg") -> bytes:
    """Plot the rows from top to bottom.

    Args:
        rows: at least one.
        axis: label of the axis.
        form: ``svg`` or ``png``.
    """
    with warnings.catch_warnings():  # letters missing in our font are taken from the reader's font
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with mpl.rc_context(STYLE):
            return drawn(_figure(rows, axis), form)


def _figure(rows: Sequence[ComparedRow], axis: str) -> Figure:
    names, texts = [shortened(row.name, 48) for row in rows], [_text(row) for row in rows]
    left, right = inches(names, _SIZE) + 0.16, inches(texts, _SIZE) + 0.2
    height = _TOP + _PITCH * len(rows) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    across, up = _WIDTH - left - right, height - _TOP - _BOTTOM
    axes = figure.add_axes((left / _WIDTH, _BOTTOM / height, across / _WIDTH, up / height))
    for baseline, label, color, face in (
        (False, "mean and deviation over seeds", PALETTE["curve"], PALETTE["curve"]),
        (True, "baseline, trains no detector", PALETTE["ink"], "white"),
    ):
        own = [place for place, row in enumerate(rows) if row.baseline is baseline]
        if own:
            means, spread = [rows[i].mean for i in own], [rows[i].deviation or 0.0 for i in own]
            axes.errorbar(means, own, xerr=spread, fmt="o", color=color, mfc=face, ms=5, capsize=3, label=label)
    published = [(row.published, place) for place, row in enumerate(rows) if row.published is not None]
    if published:
        axes.plot(*zip(*published, strict=True), "D", color=PALETTE["truth"], ms=5, label="published")
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(np.arange(len(rows)), [plain(name) for name in names], fontsize=_SIZE)
    right_axis = axes.secondary_yaxis("right")
    right_axis.set_yticks(np.arange(len(rows)), texts, fontsize=_SIZE)
    right_axis.spines["right"].set_visible(False)
    axes.set_xlabel(axis)
    legend(axes)
    return figure


def _text(row: ComparedRow) -> str:
    return f"{row.mean:.2f}" if row.deviation is None else f"{row.mean:.2f} ± {row.deviation:.2f}"
