"""Which files and folders an extractor is to read, and the names of the videos they hold."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.text.naming import storable
from ...errors import ClapError, harmless
from ...video.access import no_file, unreadable
from ...video.links import leads_out
from ...video.sorting import LeftOut
from .extractor import Extractor

__all__ = ["OtherFiles", "PassOver", "find_inputs"]


PassOver = Callable[[Path, str], None]
"""Is told of something that is not read: where it stands, and a sentence about it."""

_EXAMPLES = 5
# folders that a system or a disk station keeps for itself: previews, deleted files
_SYSTEM_FOLDERS = {"@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "__macosx"}


class OtherFiles:
    """Collects what :func:`find_inputs` ignores: how much of each kind, and the first few of it."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, path: Path, kind: str) -> None:
        """One more of a kind."""
        self._count[kind] += 1
        if self._count[kind] <= _EXAMPLES:
            self._examples.setdefault(kind, []).append(storable(str(path)))

    def summary(self) -> list[dict[str, Any]]:
        """[{kind, count, examples}], fit for JSON."""
        return [{"kind": kind, "count": n, "examples": self._examples[kind]} for kind, n in self._count.items()]

    @staticmethod
    def told(summary: Sequence[Mapping[str, Any]]) -> str | None:
        """A summary as one line; None where nothing was ignored."""
        if not summary:
            return None
        kinds = [f"{entry['count']} x {entry['kind']} ({_names(entry)})" for entry in summary]
        return harmless(f"Left out: {'; '.join(kinds)}")


def _names(entry: Mapping[str, Any]) -> str:
    shown = ", ".join(Path(path).name for path in entry["examples"])
    return shown + (", ..." if entry["count"] > len(entry["examples"]) else "")


def find_inputs(
    paths: Sequence[Path],
    extractor: Extractor,
    leave_out: Sequence[Path] = (),
    pass_over: PassOver = lambda path, reason: None,
    ignore: PassOver = lambda path, kind: None,
) -> dict[str, Path]:
    """Video name -> its file or folder of frames, sorted by name.

    A file is taken as it is, whatever its extension; a folder is searched, sub-folders included, for what the extractor
    reads, itself among it. All that is met is taken, or told of: to ``pass_over`` what may be missed (what cannot be
    read, or may be a recording and is in no known format), to ``ignore`` what is of another kind. Hidden files are
    neither. Links that lead out of the folder named are not followed: whoever may put files there must not choose what
    else of this machine is read. Each folder is listed once.

    Args:
        paths: what the user named.
        extractor: decides what it accepts and how videos are called.
        leave_out: folders not to search (the store that is being written).
        pass_over: is told of what may be missed, with a sentence that names it and says what to do.
        ignore: is told of all other things left out, with a few words on what they are.

    Raises:
        ClapError: a path is missing, nothing is found in a folder, or two inputs would carry the same name.
    """
    hidden = {folder.resolve() for folder in leave_out}
    found: dict[str, Path] = {}
    unread: dict[Path, str] = {}
    for path in paths:
        told: list[LeftOut] = []
        try:
            is_folder = _is_folder(path)
            inputs = list(_search(path, extractor, hidden, told.append)) if is_folder else [path]
        except OSError as error:
            unread[path] = harmless(f"{path}: {unreadable(error)}")
            continue
        doubtful = {left.path: harmless(f"{left.path}: {left.reason}") for left in told if left.doubtful}
        if not inputs:
            raise ClapError(_nothing_in(path, doubtful))
        for entry in inputs:
            name = extractor.video_name(entry.resolve() if entry.name in ("", "..") else entry)
            other = found.setdefault(name, entry)
            # realpath, as resolve() fails for a link that leads to itself
            if other is not entry and os.path.realpath(other) != os.path.realpath(entry):
                raise ClapError(f"{entry}: would be called '{name}' like {other}; names must be unique, rename one")
        for place, sentence in doubtful.items():
            pass_over(place, sentence)
        for left in told:
            if not left.doubtful:
                ignore(left.path, left.reason)
    if not found and unread:
        raise ClapError("; ".join(unread.values()))
    for place, sentence in unread.items():
        pass_over(place, sentence)
    if not found:
        raise ClapError("no input was given; name video files, track files or folders of them")
    return dict(sorted(found.items()))


def _is_folder(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ClapError(f"{path}: no such file or folder") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ClapError(f"{path}: no such file or folder") from None
        raise
    return path.is_dir()


def _nothing_in(folder: Path, doubtful: Mapping[Path, str]) -> str:
    if not doubtful:
        return f"{folder}: holds nothing that this extractor reads; name the files or another folder"
    first = next(iter(doubtful))
    if all(leads_out(path, folder) for path in doubtful):
        return (
            f"{folder}: holds nothing to read but links that lead out of it, the first is {first}; "
            "name what they lead to"
        )
    more = f" (and {len(doubtful) - 1} more that cannot be read)" if len(doubtful) > 1 else ""
    return f"{folder}: holds nothing that this extractor reads; {doubtful[first]}{more}"


def _search(folder: Path, extractor: Extractor, hidden: set[Path], leave: Callable[[LeftOut], None]) -> Iterator[Path]:
    """Inputs in and below a folder; links to folders within it are followed, each real folder is searched once.

    Raises:
        OSError: the folder itself cannot be listed; what is below it and cannot be is left out.
    """
    top = Path(os.path.realpath(folder))
    seen = {top}
    waiting = [(folder, top)]
    while waiting:
        here, real_here = waiting.pop()
        try:
            entries = _listed(here)
        except OSError as error:
            if here is folder:
                raise
            leave(LeftOut(here, unreadable(error), doubtful=True))
            continue
        names: list[str] = []
        outward: set[str] = set()
        below: list[tuple[Path, Path]] = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = here / entry.name
            link = entry.is_symlink()
            if link and leads_out(path, folder):
                outward.add(entry.name)
            try:
                kind = _kind(entry)
            except OSError as error:
                reason = unreadable(error)
                if link and (error.errno == errno.ELOOP or isinstance(error, FileNotFoundError)):
                    names.append(entry.name)  # its name tells whether a video is missed
                    continue
                leave(LeftOut(path, reason, doubtful=True))
                continue
            if kind == "file":
                names.append(entry.name)
            elif kind != "folder":
                leave(LeftOut(path, f"is {kind}, no file; move it out of the folder", doubtful=True))
            elif entry.name in outward:
                leave(_not_followed(path, folder))
            else:
                real = Path(os.path.realpath(path)) if link else real_here / entry.name
                if real in seen or real in hidden:
                    continue
                seen.add(real)
                if entry.name.lower() in _SYSTEM_FOLDERS:
                    leave(LeftOut(path, "a folder of the system"))
                else:
                    below.append((path, real))
        found = extractor.sort_folder(here, names, outward, bool(below))
        for left in found.left_out:
            leave(left)
        for path in found.inputs:
            if path != here and path.name in outward:
                leave(_not_followed(path, folder))
            else:
                yield path
        waiting += reversed(below)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _kind(entry: os.DirEntry[str]) -> str:
    """``file``, ``folder``, or what else it is, links followed; raises OSError where that cannot be found out."""
    if entry.is_dir():
        return "folder"
    if entry.is_file():
        return "file"
    return no_file(entry.stat().st_mode) or "file"


def _not_followed(link: Path, folder: Path) -> LeftOut:
    told = f"a link that leads out of {folder}, so it was not followed; name it to have it read"
    return LeftOut(link, told, doubtful=True)
