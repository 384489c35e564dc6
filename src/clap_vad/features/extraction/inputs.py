"""Search for the inputs of an extractor, and their video names."""

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
"""Called with the path of a file that is not read, and a sentence about it."""

_EXAMPLES = 5
# folders of operating systems and storage systems: previews, deleted files
_SYSTEM_FOLDERS = {"@eadir", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "__macosx"}


class OtherFiles:
    """Collects files that :func:`find_inputs` ignores: the number of each kind, and a few examples."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, path: Path, kind: str) -> None:
        """Count a file of this kind."""
        self._count[kind] += 1
        if self._count[kind] <= _EXAMPLES:
            self._examples.setdefault(kind, []).append(storable(str(path)))

    def summary(self) -> list[dict[str, Any]]:
        """[{kind, count, examples}], JSON-serialisable."""
        return [{"kind": kind, "count": n, "examples": self._examples[kind]} for kind, n in self._count.items()]

    @staticmethod
    def describe(summary: Sequence[Mapping[str, Any]]) -> str | None:
        """A summary as one line; None if no file was ignored."""
        if not summary:
            return None
        kinds = [f"{entry['count']} x {entry['kind']} ({_names(entry)})" for entry in summary]
        return harmless(f"Left out: {'; '.join(kinds)}")


def _names(entry: Mapping[str, Any]) -> str:
    names = ", ".join(Path(path).name for path in entry["examples"])
    return names + (", ..." if entry["count"] > len(entry["examples"]) else "")


def find_inputs(
    paths: Sequence[Path],
    extractor: Extractor,
    leave_out: Sequence[Path] = (),
    pass_over: PassOver = lambda path, reason: None,
    ignore: PassOver = lambda path, kind: None,
) -> dict[str, Path]:
    """Find inputs: video name -> its file or folder of frames, sorted by name.

    A file in ``paths`` is an input whatever its extension. A folder is searched with its sub-folders, and may be an
    input itself. Every other file is reported: to ``pass_over`` if it may be an input (unreadable, or in an unknown
    format), otherwise to ``ignore``. Hidden files are not reported. Links out of the given folder are not followed:
    people who may add files to it must not read other files of this machine. Each folder is listed once.

    Args:
        paths: files and folders given by the user.
        extractor: decides which files are inputs and how videos are named.
        leave_out: folders not to search (the store that is being written).
        pass_over: called for files that may be inputs, with a sentence that names the file and the remedy.
        ignore: called for all other files, with a short description of their kind.

    Raises:
        ClapError: a path is missing, a folder contains no input, or two inputs have the same name.
    """
    hidden = {folder.resolve() for folder in leave_out}
    found: dict[str, Path] = {}
    unread: dict[Path, str] = {}
    for path in paths:
        left_out: list[LeftOut] = []
        try:
            is_folder = _is_folder(path)
            inputs = list(_search(path, extractor, hidden, left_out.append)) if is_folder else [path]
        except OSError as error:
            unread[path] = harmless(f"{path}: {unreadable(error)}")
            continue
        doubtful = {left.path: harmless(f"{left.path}: {left.reason}") for left in left_out if left.doubtful}
        if not inputs:
            raise ClapError(_nothing_in(path, doubtful))
        for entry in inputs:
            name = extractor.video_name(entry.resolve() if entry.name in ("", "..") else entry)
            other = found.setdefault(name, entry)
            # realpath, as resolve() fails for a link to itself
            if other is not entry and os.path.realpath(other) != os.path.realpath(entry):
                raise ClapError(f"{entry}: has the same video name '{name}' as {other}; rename one of them")
        for place, sentence in doubtful.items():
            pass_over(place, sentence)
        for left in left_out:
            if not left.doubtful:
                ignore(left.path, left.reason)
    if not found and unread:
        raise ClapError("; ".join(unread.values()))
    for place, sentence in unread.items():
        pass_over(place, sentence)
    if not found:
        raise ClapError("no input; give video files, track files or folders of them")
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
        return f"{folder}: contains no input of this extractor; give the files or another folder"
    first = next(iter(doubtful))
    if all(leads_out(path, folder) for path in doubtful):
        return (
            f"{folder}: contains only links out of the folder, which are not followed (first: {first}); "
            "give the files that they refer to"
        )
    more = f" (and {len(doubtful) - 1} more that cannot be read)" if len(doubtful) > 1 else ""
    return f"{folder}: contains no input of this extractor; {doubtful[first]}{more}"


def _search(folder: Path, extractor: Extractor, hidden: set[Path], leave: Callable[[LeftOut], None]) -> Iterator[Path]:
    """Yield the inputs in and below a folder. Links to folders inside it are followed; each folder is searched once.

    Raises:
        OSError: the folder itself cannot be listed. Unreadable sub-folders are reported to ``leave``.
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
                    names.append(entry.name)  # its name decides whether it may be an input
                    continue
                leave(LeftOut(path, reason, doubtful=True))
                continue
            if kind == "file":
                names.append(entry.name)
            elif kind != "folder":
                leave(LeftOut(path, f"is {kind}, not a file; move it out of the folder", doubtful=True))
            elif entry.name in outward:
                leave(_not_followed(path, folder))
            else:
                real = Path(os.path.realpath(path)) if link else real_here / entry.name
                if real in seen or real in hidden:
                    continue
                seen.add(real)
                if entry.name.lower() in _SYSTEM_FOLDERS:
                    leave(LeftOut(path, "a system folder"))
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
    """``file``, ``folder`` or another kind, with links followed; raises OSError if it cannot be determined."""
    if entry.is_dir():
        return "folder"
    if entry.is_file():
        return "file"
    return no_file(entry.stat().st_mode) or "file"


def _not_followed(link: Path, folder: Path) -> LeftOut:
    reason = f"a link out of {folder}, not followed; give its path as an input to read it"
    return LeftOut(link, reason, doubtful=True)
