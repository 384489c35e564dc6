"""Directive ``import-diagram``: the rooms of the package drawn as a graph of imports, and as a table.

It reads the source at each build, so the picture cannot be out of date. An import in a circle fails the build.
"""

from __future__ import annotations

from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from rooms import Room, direct, layers, read_rooms
from sphinx.application import Sphinx

import clap_vad

SOURCE = Path(clap_vad.__file__).parent
_BOX, _LANE, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 128, 6, 46, 18, 40, 6
_SWEEPS = 6

Node = tuple[str, str, int]
"""A room in its layer, ``(name, "", layer)``, or the lane of an arrow in a layer between, ``(from, to, layer)``."""


def draw(rooms: dict[str, Room]) -> str:
    """The diagram as SVG: the first layer at the bottom, an arrow from a room to each room that it imports directly.

    An arrow over several layers has a lane in each layer between, so that it crosses no room.
    """
    levels = layers(rooms)
    depth = {name: level for level, names in enumerate(levels) for name in names}
    arrows: list[list[Node]] = []
    for name, others in direct(rooms).items():
        for other in sorted(others):
            lanes = [(name, other, level) for level in range(depth[name] - 1, depth[other], -1)]
            arrows.append([(name, "", depth[name]), *lanes, (other, "", depth[other])])
    place, width, height = _placed(len(levels), depth, arrows)
    lines = [_arrow([place[node] for node in arrow], arrow[0][0], arrow[-1][0]) for arrow in arrows]
    boxes = [_box(rooms[name], *place[name, "", level]) for name, level in depth.items()]
    return (
        f'<svg class="import-diagram" viewBox="0 0 {width} {height}" role="img" aria-labelledby="import-diagram-title">'
        '<title id="import-diagram-title">Rooms of the package and their imports; the table below says the same</title>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>' + "".join(lines + boxes) + "</svg>"
    )


def _placed(
    count: int, depth: dict[str, int], arrows: list[list[Node]]
) -> tuple[dict[Node, tuple[float, float]], float, float]:
    """Middle of the upper edge of each node, and the size of the picture."""
    levels: list[list[Node]] = [[] for _ in range(count)]
    for node in dict.fromkeys(
        [*((n, "", level) for n, level in depth.items()), *(n for arrow in arrows for n in arrow)]
    ):
        levels[node[2]].append(node)
    beside: dict[Node, list[Node]] = {}
    for upper, lower in (pair for arrow in arrows for pair in pairwise(arrow)):
        beside.setdefault(upper, []).append(lower)
        beside.setdefault(lower, []).append(upper)
    middle: dict[Node, float] = {}
    for sweep in range(_SWEEPS):  # each layer in the order of the middles of what it is joined with, up and down
        order = range(count) if sweep % 2 == 0 else range(count - 1, -1, -1)
        for level in order:
            near = level - 1 if sweep % 2 == 0 else level + 1
            wanted = {}
            for node in levels[level]:
                places = [middle[other] for other in beside.get(node, []) if other[2] == near and other in middle]
                wanted[node] = sum(places) / len(places) if places else middle.get(node, 0.0)
            levels[level].sort(key=lambda node: (wanted[node], node))
            middle |= _spread(levels[level])
    left = min(middle[node] - _width(node) / 2 for node in middle) - _MARGIN
    right = max(middle[node] + _width(node) / 2 for node in middle) + _MARGIN
    height = 2 * _MARGIN + count * (_HEIGHT + _GAP_Y) - _GAP_Y
    place = {node: (middle[node] - left, height - _MARGIN - _HEIGHT - node[2] * (_HEIGHT + _GAP_Y)) for node in middle}
    return place, right - left, height


def _width(node: Node) -> int:
    return _LANE if node[1] else _BOX


def _spread(level: list[Node]) -> dict[Node, float]:
    """Middles of a layer's nodes side by side, the layer around 0."""
    middles, edge = {}, -(sum(map(_width, level)) + _GAP_X * (len(level) - 1)) / 2
    for node in level:
        middles[node] = edge + _width(node) / 2
        edge += _width(node) + _GAP_X
    return middles


def _arrow(points: list[tuple[float, float]], name: str, other: str) -> str:
    x, y = points[0][0], points[0][1] + _HEIGHT
    path = f"M{x:g},{y:g}"
    for index, (next_x, next_y) in enumerate(points[1:], start=2):
        last = index == len(points)
        bend = _GAP_Y / 2
        path += f" C{x:g},{y + bend:g} {next_x:g},{next_y - bend:g} {next_x:g},{next_y - last:g}"
        x, y = next_x, next_y + _HEIGHT
        if not last:
            path += f" L{x:g},{y:g}"
    return f'<path class="arrow" marker-end="url(#tip)" d="{path}"><title>{name} imports {other}</title></path>'


def _box(room: Room, x: float, y: float) -> str:
    return (
        f'<a href="#room-{room.name.replace(" ", "-")}"><g><title>{escape(room.about)}</title>'
        f'<rect x="{x - _BOX / 2:g}" y="{y:g}" width="{_BOX}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x:g}" y="{y + 20:g}">{escape(room.name)}</text>'
        f'<text class="size" x="{x:g}" y="{y + 36:g}">{room.files} files, {room.lines:,} lines</text></g></a>'
    )


def _table(rooms: dict[str, Room]) -> str:
    rows = []
    for level in reversed(layers(rooms)):
        for name in level:
            room = rooms[name]
            imports = ", ".join(sorted(room.imports)) or "no other room"
            rows.append(
                f'<tr id="room-{name.replace(" ", "-")}"><td><code>{escape(name)}</code></td>'
                f"<td>{escape(room.about)}</td><td>{escape(imports)}</td></tr>"
            )
    head = "<thead><tr><th>room</th><th>what is in it</th><th>imports</th></tr></thead>"
    return f'<div class="table-wrapper"><table class="docutils">{head}<tbody>{"".join(rows)}</tbody></table></div>'


class ImportDiagram(Directive):
    """Draw the rooms and list them."""

    def run(self) -> list[nodes.Node]:
        """The picture and the table as HTML."""
        rooms = read_rooms(SOURCE)
        env = self.state.document.settings.env
        for file in SOURCE.rglob("*.py"):
            env.note_dependency(str(file))
        html = f'<div class="import-diagram">{draw(rooms)}</div>{_table(rooms)}'
        return [nodes.raw("", html, format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("import-diagram", ImportDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
