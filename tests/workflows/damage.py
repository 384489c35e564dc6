"""Ways to damage a folder: each gives a function that is called with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[Path], object]


def set_json(name: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return change


def overwrite(name: str, content: bytes | str) -> Change:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def add_line(name: str, line: str) -> Change:
    return lambda folder: (folder / name).write_text((folder / name).read_text() + line)


def flip_bits(name: str) -> Change:
    def change(folder: Path) -> None:
        (file,) = folder.glob(name)
        content = bytearray(file.read_bytes())
        content[-5] ^= 0xFF
        file.write_bytes(content)

    return change


def cut_short(name: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])
