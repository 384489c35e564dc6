"""Which files and folders an extractor is to read, and the names of the videos they hold."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ClapError
from .extractor import Extractor

__all__ = ["find_inputs"]


def find_inputs(paths: Sequence[Path], extractor: Extractor, leave_out: Sequence[Path] = ()) -> dict[str, Path]:
    """Video name -> its file or folder of frames, sorted by name.

    A file is taken as it is, whatever its extension; a folder that is itself one video too; any other folder is
    searched, sub-folders included, for what the extractor accepts. Hidden files are passed over.

    Args:
        paths: what the user named.
        extractor: decides what it accepts and how videos are called.
        leave_out: folders not to search (the store that is being written).

    Raises:
        ClapError: a path is missing, nothing is found in a folder, or two inputs would carry the same name.
    """
    hidden = {folder.resolve() for folder in leave_out}
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise ClapError(f"{path}: no such file or folder")
        inputs = _search(path, extractor, hidden) if path.is_dir() and not extractor.accepts(path) else iter([path])
        empty = True
        for entry in inputs:
            empty = False
            name = extractor.video_name(entry.resolve() if entry.name in ("", "..") else entry)
            other = found.setdefault(name, entry)
            if os.path.realpath(other) != os.path.realpath(entry):  # resolve() fails for a link that leads to itself
                raise ClapError(f"{entry}: would be called '{name}' like {other}; names must be unique, rename one")
        if empty:
            raise ClapError(f"{path}: holds nothing that this extractor reads; name the files or another folder")
    if not found:
        raise ClapError("no input was given; name video files, track files or folders of them")
    return dict(sorted(found.items()))


def _search(folder: Path, extractor: Extractor, hidden: set[Path]) -> Iterator[Path]:
    """Inputs below a folder; links to folders are followed, each real folder is searched once."""
    seen = {folder.resolve()}
    for root, subfolders, files in os.walk(folder, followlinks=True):
        here = Path(root)
        subfolders.sort()
        for name in list(subfolders):
            below = here / name
            real = below.resolve()
            if name.startswith(".") or real in hidden or real in seen:
                subfolders.remove(name)
                continue
            seen.add(real)
            if extractor.accepts(below):
                subfolders.remove(name)
                yield below
        yield from (
            here / name for name in sorted(files) if not name.startswith(".") and extractor.accepts(here / name)
        )
