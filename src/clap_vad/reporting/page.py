"""One self-contained HTML page from sections.

A page contains all styles, plots and pictures, and loads nothing from a network; its content security policy makes the
browser enforce this. There are no scripts. All text is escaped.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..errors import harmless
from ..persistence import write_text
from .palette import PALETTE, THEMES

__all__ = [
    "Link",
    "Picture",
    "Plot",
    "Plots",
    "Section",
    "Stat",
    "Stats",
    "Table",
    "Text",
    "Video",
    "render_page",
    "write_page",
]


@dataclass(frozen=True)
class Stat:
    """One headline number."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Stats:
    """Headline numbers side by side."""

    template: ClassVar[str] = "stats.html"
    title: str
    items: tuple[Stat, ...]


@dataclass(frozen=True)
class Text:
    """Paragraphs of plain text."""

    template: ClassVar[str] = "text.html"
    title: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """Text that links to an anchor of the page."""

    text: str
    target: str


@dataclass(frozen=True)
class Table:
    """A table. The first column names the row; the others are aligned as numbers unless ``prose``.

    Attributes:
        columns: headings.
        rows: one text per column.
        note: sentence below the table.
        strong: index of the row to emphasise.
        prose: align the cells as text, to the left.
        folded: collapsed at first.
    """

    template: ClassVar[str] = "table.html"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    note: str = ""
    strong: int | None = None
    prose: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Plot:
    """A plot with a description in words.

    Attributes:
        draw: a function, e.g. of :mod:`clap_vad.reporting.plots`, that returns the bytes for ``form="svg"`` or
            ``"png"``.
        description: text for screen readers.
        caption: printed above the plot.
        name: file name of the saved plot, see :mod:`clap_vad.reporting.plot_files`.
        svg: the SVG for the page, drawn at once so that the page can be written quickly after an interruption.
    """

    draw: Callable[..., bytes]
    description: str
    caption: str = ""
    name: str = "plot"
    svg: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "svg", self.draw(form="svg"))

    @property
    def inline(self) -> Markup:
        """The plot as HTML, with the colours and fonts of the page."""
        return _inline(self.svg, self.description)


@dataclass(frozen=True)
class Plots:
    """Plots under one title; small plots share a line if there is room."""

    template: ClassVar[str] = "plots.html"
    title: str
    plots: tuple[Plot, ...]
    note: str = ""
    small: bool = False


@dataclass(frozen=True)
class Picture:
    """A JPEG with caption and description for screen readers."""

    jpeg: bytes
    caption: str
    description: str

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Video:
    """A scored video: score curve, events, and pictures of their peaks.

    Attributes:
        anchor: anchor for links to it.
        folded: collapsed at first.
    """

    template: ClassVar[str] = "video.html"
    title: str
    facts: str
    plot: Plot
    events: Table | None = None
    pictures: tuple[Picture, ...] = ()
    pictures_note: str = ""
    anchor: str = ""
    folded: bool = False


Section = Stats | Text | Table | Plots | Video


def render_page(title: str, subtitle: str, sections: Sequence[Section], footer: str = "") -> str:
    """Render the page as HTML; equal input gives equal text.

    >>> html = render_page("Run <1>", "", [Stats("Result", (Stat("Frame AUC", "78.0 %"),))])
    >>> "Run &lt;1&gt;" in html, "://" in html
    (True, False)
    """
    template = _environment().get_template("page.html")
    return template.render(title=title, subtitle=subtitle, sections=sections, footer=footer, themes=THEMES)


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[Section], footer: str = "") -> None:
    """Render and write a page atomically."""
    write_text(path, render_page(title, subtitle, sections, footer))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("clap_vad.reporting"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _shown(value: object) -> object:
    """Convert a value for the template; characters that change the writing direction are escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(harmless, value.split("\n")))
    return value


def _inline(svg: bytes, description: str) -> Markup:
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", text, flags=re.DOTALL)
    # unused ids would collide with those of the next plot
    text = re.sub(r' id="(?![hmp][0-9a-f]{10}")[^"]*"', "", text)
    text = text.replace("; font-family: 'DejaVu Sans', sans-serif", "")
    for role, color in PALETTE.items():
        text = text.replace(color, f"var(--{role}, {color})")
    opening = re.match(r"<svg[^>]*>", text)
    view = re.search(r'viewBox="([^"]*)"', text)
    if opening is None or view is None:
        raise ValueError("the plot is not an SVG with a view box")
    body = text[opening.end() :].replace("xlink:href", "href")
    # keyboards and screen readers reach the content of a group, but not that of a picture
    role = "group" if "<a " in body else "img"
    head = Markup('<svg class="plot" viewBox="{}" role="{}" aria-label="{}">').format(view[1], role, description)
    return head + Markup(re.sub(r"\n\s*", "\n", body))
