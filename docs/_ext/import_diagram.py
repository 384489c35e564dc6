"""Directive ``import-diagram``: the rooms of the package drawn as a graph of imports, and as a table.

It reads the source at each build, so the picture cannot be out of date. An import in a circle fails the build.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import clap_vad
from docutils import nodes
from docutils.parsers.rst import Directive
from rooms import Room, direct, layers, read_rooms
from sphinx.application import Sphinx

SOURCE = Path(clap_vad.__file__).parent
_BOX, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 128, 46, 18, 44, 6


def draw(rooms: dict[str, Room]) -> str:
    """The diagram as SVG: the first layer at the bottom, an arrow from a room to each room that it imports directly."""
    levels = _arranged(layers(rooms), edges := direct(rooms))
    width = 2 * _MARGIN + max(len(level) for level in levels) * (_BOX + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + len(levels) * (_HEIGHT + _GAP_Y) - _GAP_Y
    place = {}
    for depth, level in enumerate(levels):
        left = (width - len(level) * (_BOX + _GAP_X) + _GAP_X) / 2
        for index, name in enumerate(level):
            place[name] = (left + index * (_BOX + _GAP_X), height - _MARGIN - _HEIGHT - depth * (_HEIGHT + _GAP_Y))
    arrows = [_arrow(place[name], place[other], name, other) for name in rooms for other in sorted(edges[name])]
    boxes = [_box(rooms[name], *place[name]) for name in rooms]
    return (
        f'<svg class="import-diagram" viewBox="0 0 {width} {height}" role="img" aria-labelledby="import-diagram-title">'
        '<title id="import-diagram-title">Rooms of the package and their imports; the table below says the same</title>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>' + "".join(arrows + boxes) + "</svg>"
    )


def _arranged(levels: list[list[str]], edges: dict[str, set[str]]) -> list[list[str]]:
    """Each layer in the order of the middle of what it imports, so that few arrows cross."""
    middle: dict[str, float] = {}
    arranged = []
    for level in levels:

        def wanted(name: str) -> float:
            below = [middle[other] for other in edges[name]]
            return sum(below) / len(below) if below else 0.0

        ordered = sorted(level, key=lambda name: (wanted(name), name))
        middle |= {name: index - (len(ordered) - 1) / 2 for index, name in enumerate(ordered)}
        arranged.append(ordered)
    return arranged


def _arrow(start: tuple[float, float], end: tuple[float, float], name: str, other: str) -> str:
    x0, y0, x1, y1 = start[0] + _BOX / 2, start[1] + _HEIGHT, end[0] + _BOX / 2, end[1]
    bend = min(_GAP_Y, (y1 - y0) / 2)
    path = f"M{x0:g},{y0:g} C{x0:g},{y0 + bend:g} {x1:g},{y1 - bend:g} {x1:g},{y1 - 1:g}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{path}"><title>{name} imports {other}</title></path>'


def _box(room: Room, x: float, y: float) -> str:
    middle = x + _BOX / 2
    return (
        f'<a href="#room-{room.name.replace(" ", "-")}"><g><title>{escape(room.about)}</title>'
        f'<rect x="{x:g}" y="{y:g}" width="{_BOX}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{middle:g}" y="{y + 20:g}">{escape(room.name)}</text>'
        f'<text class="size" x="{middle:g}" y="{y + 36:g}">{room.files} files, {room.lines:,} lines</text></g></a>'
    )


def _table(rooms: dict[str, Room]) -> str:
    rows = []
    for level in layers(rooms):
        for name in level:
            room = rooms[name]
            imports = ", ".join(sorted(room.imports)) or "no other room"
            rows.append(
                f'<tr id="room-{name.replace(" ", "-")}"><td><code>{escape(name)}</code></td>'
                f"<td>{escape(room.about)}</td><td>{escape(imports)}</td></tr>"
            )
    head = "<tr><th>room</th><th>what is in it</th><th>imports</th></tr>"
    return f'<div class="table-wrapper"><table class="docutils rooms">{head}{"".join(rows)}</table></div>'


class ImportDiagram(Directive):
    """Draw the rooms and list them."""

    def run(self) -> list[nodes.Node]:
        """The picture and the table as HTML."""
        rooms = read_rooms(SOURCE)
        env = self.state.document.settings.env
        for file in [SOURCE, *SOURCE.rglob("*.py")]:
            env.note_dependency(str(file))
        html = f'<div class="import-diagram">{draw(rooms)}</div>{_table(rooms)}'
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("import-diagram", ImportDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
