"""Which files and folders an extractor is to read, and the names of the videos they hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import ClapError, harmless
from ..video.links import leads_out
from .extractor import Extractor

__all__ = ["PassOver", "find_inputs"]


PassOver = Callable[[Path, str], None]
"""Is told of a link that was not followed: where it stands, and a sentence about it."""


def find_inputs(
    paths: Sequence[Path],
    extractor: Extractor,
    leave_out: Sequence[Path] = (),
    pass_over: PassOver = lambda link, reason: None,
) -> dict[str, Path]:
    """Video name -> its file or folder of frames, sorted by name.

    A file is taken as it is, whatever its extension; a folder that is itself one video too; any other folder is
    searched, sub-folders included, for what the extractor accepts. Hidden files are passed over, and so are links that
    lead out of the folder named: whoever may put files there must not choose what else of this machine is read.

    Args:
        paths: what the user named.
        extractor: decides what it accepts and how videos are called.
        leave_out: folders not to search (the store that is being written).
        pass_over: is told of every link that leads out of its folder.

    Raises:
        ClapError: a path is missing, nothing is found in a folder, or two inputs would carry the same name.
    """
    hidden = {folder.resolve() for folder in leave_out}
    links: list[Path] = []

    def not_followed(link: Path, folder: Path) -> None:
        links.append(link)
        told = f"{link}: a link that leads out of {folder}, so it was not followed; name it to have it read"
        pass_over(link, harmless(told))

    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise ClapError(f"{path}: no such file or folder")
        inputs = (
            _search(path, extractor, hidden, not_followed)
            if path.is_dir() and not extractor.accepts(path)
            else iter([path])
        )
        empty = True
        links.clear()
        for entry in inputs:
            empty = False
            name = extractor.video_name(entry.resolve() if entry.name in ("", "..") else entry)
            other = found.setdefault(name, entry)
            if os.path.realpath(other) != os.path.realpath(entry):  # resolve() fails for a link that leads to itself
                raise ClapError(f"{entry}: would be called '{name}' like {other}; names must be unique, rename one")
        if empty and links:
            raise ClapError(
                f"{path}: holds nothing to read but links that lead out of it, the first is {links[0]}; name what they "
                "lead to"
            )
        if empty:
            raise ClapError(f"{path}: holds nothing that this extractor reads; name the files or another folder")
    if not found:
        raise ClapError("no input was given; name video files, track files or folders of them")
    return dict(sorted(found.items()))


def _search(
    folder: Path, extractor: Extractor, hidden: set[Path], not_followed: Callable[[Path, Path], None]
) -> Iterator[Path]:
    """Inputs below a folder; links to folders within it are followed, each real folder is searched once."""
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
            if leads_out(below, folder):
                subfolders.remove(name)
                not_followed(below, folder)
                continue
            seen.add(real)
            if extractor.accepts(below):
                subfolders.remove(name)
                yield below
        for name in sorted(files):
            if name.startswith(".") or not extractor.accepts(here / name):
                continue
            if leads_out(here / name, folder):
                not_followed(here / name, folder)
            else:
                yield here / name
