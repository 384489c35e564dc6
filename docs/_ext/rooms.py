"""The rooms of the package and what they import, read from the source by ``ast``: no module is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["BASE", "Room", "direct", "layers", "read_rooms"]

BASE = "base modules"
"""The room of the modules that lie directly in the package."""


@dataclass
class Room:
    """One room: a folder of the package, or :data:`BASE`.

    Attributes:
        name: of the folder.
        about: first line of the folder's docstring.
        files: how many Python files it has, ``__init__.py`` not counted.
        lines: of these files.
        imports: names of other rooms that its files import.
    """

    name: str
    about: str
    files: int = 0
    lines: int = 0
    imports: set[str] = field(default_factory=set)


def read_rooms(source: Path) -> dict[str, Room]:
    """Every room of the package below ``source``, by name."""
    names = sorted(path.parent.name for path in source.glob("*/__init__.py"))
    modules = ", ".join(sorted(path.stem for path in source.glob("*.py") if path.stem != "__init__"))
    rooms = {BASE: Room(BASE, f"What everything stands on: {modules}.")}
    for name in names:
        rooms[name] = Room(name, (_docstring(source / name / "__init__.py") or "").split("\n")[0])
    for file in sorted(source.rglob("*.py")):
        place = file.relative_to(source)
        if place.name == "__init__.py":
            continue
        room = rooms[place.parts[0] if len(place.parts) > 1 else BASE]
        room.files += 1
        room.lines += len(file.read_text(encoding="utf-8").splitlines())
        room.imports |= {other if other in names else BASE for other in _imports(file, source)} - {room.name}
    return rooms


def layers(rooms: Mapping[str, Room]) -> list[list[str]]:
    """Rooms by the longest chain of imports below them: the first layer imports no room.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    depth: dict[str, int] = {}

    def visit(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"rooms import each other in a circle: {' -> '.join([*above, name])}")
        if name not in depth:
            depth[name] = 1 + max((visit(other, (*above, name)) for other in rooms[name].imports), default=-1)
        return depth[name]

    for name in rooms:
        visit(name, ())
    return [sorted(n for n in rooms if depth[n] == level) for level in range(max(depth.values()) + 1)]


def direct(rooms: Mapping[str, Room]) -> dict[str, set[str]]:
    """The imports that no longer chain of imports implies, by room."""

    def reached(name: str) -> set[str]:
        found = set(rooms[name].imports)
        for other in rooms[name].imports:
            found |= reached(other)
        return found

    return {
        name: room.imports - {far for other in room.imports for far in reached(other)} for name, room in rooms.items()
    }


def _docstring(file: Path) -> str | None:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def _imports(file: Path, source: Path) -> set[str]:
    """First parts of the package's own modules that a file imports, at any depth of its code."""
    package = (source.name, *file.relative_to(source).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            target = ".".join(part for part in (start, node.module) if part)
            targets = [f"{target}.{alias.name}" for alias in node.names] if target == source.name else [target]
        else:
            continue
        found |= {target.split(".")[1] for target in targets if target.startswith(f"{source.name}.")}
    return found
