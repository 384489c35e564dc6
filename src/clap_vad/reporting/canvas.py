"""What all plots share: their style, their legend, names as they are and in short, and the bytes of a drawn figure."""

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
    """A name as it is: a dollar sign would start a formula, a leading underscore would hide the line.

    >>> plain("5 $"), plain("hall")
    ('5 \\\\$', 'hall')
    """
    escaped = name.replace("$", r"\$")
    return f"\u200b{escaped}" if escaped.startswith("_") else escaped


def shortened(name: str, longest: int = 32) -> str:
    """A long name without its middle: names differ at their ends.

    >>> shortened("north entrance", 9)
    'nort…ance'
    """
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def inches(texts: Sequence[str], size: float) -> float:
    """Width of the widest text in so many points; margins are computed, for fitting them would draw everything twice.

    >>> inches(["i", "wide"], 10) == inches(["wide"], 10) > inches(["i"], 10)
    True
    """
    font = FontProperties(family=STYLE["font.sans-serif"], size=size)
    points = [text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts]
    return float(max(points)) / 72


def drawn(figure: Figure, form: str = "svg") -> bytes:
    """The figure as ``svg``, transparent for any page, or as ``png`` on white with 300 dots an inch, as journals ask.

    Equal figures give equal bytes.
    """
    buffer = io.BytesIO()
    # no date, no program version: equal input gives equal bytes
    if form == "svg":
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    else:
        figure.savefig(buffer, format=form, dpi=300, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()
