"""Code shared by all plots: style, legend, escaped and shortened names, output as SVG or PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .palette import PALETTE

__all__ = ["STYLE", "drawn", "inches", "legend", "plain", "shortened"]

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "clap-vad",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": PALETTE["ink"],
    "axes.labelcolor": PALETTE["ink"],
    "axes.edgecolor": PALETTE["rule"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALETTE["rule"],
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "xtick.color": PALETTE["ink"],
    "ytick.color": PALETTE["ink"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


def legend(axes: Any) -> None:
    """A legend in one line above the right end of the plot."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)


def plain(name: str) -> str:
    """Escape a name for matplotlib: a dollar sign would start a formula, a leading underscore would hide the line.

    >>> plain("5 $"), plain("hall")
    ('5 \\\\$', 'hall')
    """
    escaped = name.replace("$", r"\$")
    return f"\u200b{escaped}" if escaped.startswith("_") else escaped


def shortened(name: str, longest: int = 32) -> str:
    """Shorten a long name in the middle, as names differ at their ends.

    >>> shortened("north entrance", 9)
    'nort…ance'
    """
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def inches(texts: Sequence[str], size: float) -> float:
    """Width in inches of the widest text at a font size of ``size`` points; used to compute margins without drawing.

    >>> inches(["i", "wide"], 10) == inches(["wide"], 10) > inches(["i"], 10)
    True
    """
    font = FontProperties(family=STYLE["font.sans-serif"], size=size)
    points = [text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts]
    return float(max(points)) / 72


def drawn(figure: Figure, form: str = "svg") -> bytes:
    """The figure as ``svg`` with transparent background, or as ``png`` on white with 300 dpi (for journals).

    Equal figures give equal bytes.
    """
    buffer = io.BytesIO()
    # no date, no program version, so that equal input gives equal bytes
    if form == "svg":
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(buffer, format=form, dpi=300, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
