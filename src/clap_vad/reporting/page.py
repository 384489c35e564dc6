"""One self-contained HTML page from sections.

A page carries everything in itself (styles, plots, pictures) and asks nothing of any network; its content security
policy makes the browser refuse if it tried. There is no script. All text is escaped.
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
    """Text that leads to another place of the page: the anchor of a video."""

    text: str
    target: str


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row, the others are set as numbers unless ``prose``.

    Attributes:
        columns: headings.
        rows: as many texts as columns each.
        note: a sentence below.
        strong: row to emphasise.
        prose: set the cells as text, left-aligned.
        folded: closed until the reader opens it.
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
    """A plot, and what it shows in words.

    Attributes:
        draw: a function of :mod:`clap_vad.reporting.plots` or another that gives the bytes for ``form="svg"`` or
            ``"png"``.
        description: read out in place of the picture.
        caption: printed above.
        name: of its file, where plots are saved, see :mod:`clap_vad.reporting.plot_files`.
        svg: what the page shows, drawn at once, so that a page can be written quickly after an interruption.
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
        """The plot as part of the page, in the colours and type of the page."""
        return _inline(self.svg, self.description)


@dataclass(frozen=True)
class Plots:
    """Plots under one title; small ones share a line where there is room."""

    template: ClassVar[str] = "plots.html"
    title: str
    plots: tuple[Plot, ...]
    note: str = ""
    small: bool = False


@dataclass(frozen=True)
class Picture:
    """A JPEG, the words below it, and what it shows for those who cannot see it."""

    jpeg: bytes
    caption: str
    description: str

    @property
    def uri(self) -> str:
        """The picture inside the page."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Video:
    """A scored video: its curve, its events and pictures of their peaks.

    Attributes:
        anchor: where links to it lead.
        folded: closed until the reader opens it.
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
    """The page as HTML text; equal input gives equal text.

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
    """What a template prints of a value: no text may turn the direction of what stands around it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "\n".join(map(harmless, value.split("\n")))
    return value


def _inline(svg: bytes, description: str) -> Markup:
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", text, flags=re.DOTALL)
    # names that nothing refers to would only collide with those of the next plot
    text = re.sub(r' id="(?![hmp][0-9a-f]{10}")[^"]*"', "", text)
    text = text.replace("; font-family: 'DejaVu Sans', sans-serif", "")
    for role, color in PALETTE.items():
        text = text.replace(color, f"var(--{role}, {color})")
    opening = re.match(r"<svg[^>]*>", text)
    view = re.search(r'viewBox="([^"]*)"', text)
    if opening is None or view is None:
        raise ValueError("the plot is not an SVG with a view box")
    body = text[opening.end() :].replace("xlink:href", "href")
    # what is inside a picture cannot be reached by keyboard or screen reader, what is inside a group can
    role = "group" if "<a " in body else "img"
    head = Markup('<svg class="plot" viewBox="{}" role="{}" aria-label="{}">').format(view[1], role, description)
    return head + Markup(re.sub(r"\n\s*", "\n", body))
