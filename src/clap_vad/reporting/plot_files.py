"""Saving the plots of a page as files for papers: each as PNG (300 dpi) and SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..persistence import write_bytes
from .page import Plot, Plots, Section, Video

__all__ = ["save_plots"]

_LONGEST = 200  # bytes of a name; file systems allow 255, including suffixes of the file and its temporary file


def save_plots(folder: Path, sections: Sequence[Section]) -> list[Path]:
    """Write ``NAME.png`` and ``NAME.svg`` of every plot. Returns the files.

    NAME is the name of the plot without characters that file names cannot have; equal names are numbered.
    """
    files: list[Path] = []
    used: set[str] = set()
    for plot in _plots(sections):
        name = first = plot.name.replace("/", "_").encode()[:_LONGEST].decode(errors="ignore")
        number = 1
        while name in used:
            number += 1
            name = f"{first}-{number}"
        used.add(name)
        for form in ("png", "svg"):
            file = folder / f"{name}.{form}"
            write_bytes(file, plot.svg if form == "svg" else plot.draw(form=form))
            files.append(file)
    return files


def _plots(sections: Sequence[Section]) -> Iterator[Plot]:
    for section in sections:
        if isinstance(section, Plots):
            yield from section.plots
        elif isinstance(section, Video):
            yield section.plot
