"""Code shared by importers with one file per video: finding, selecting and checking the files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...core.text.naming import natural_key
from ...errors import ClapError
from ...persistence import ArrayHeader
from ...video.links import leads_out
from ..naming import video_name
from .lists import read_list

__all__ = [
    "Found",
    "choose_videos",
    "common_dtype",
    "find_files",
    "group_by_video",
    "outward_links",
    "refuse_names",
    "unreadable_folders",
]

T = TypeVar("T")
_PERMIT = "change its permissions (chmod, chown) or remove it"


@dataclass(frozen=True)
class Found:
    """The files of a search.

    Attributes:
        files: readable files, in natural order.
        left_out: path -> reason and remedy, for files and folders left out.
    """

    files: list[Path]
    left_out: dict[Path, str] = field(default_factory=dict)


def find_files(source: Path, extension: str) -> Found:
    """Files below ``source`` (or ``source`` itself) with an extension.

    Hidden files and :func:`outward_links` are ignored. Unreadable folders and files, broken links and empty files are
    listed in ``left_out``.

    Raises:
        ClapError: no such folder, or it has no readable file with the extension.
    """
    if source.is_file():
        return Found([source])
    if not source.is_dir():
        raise ClapError(f"{source}: no such file or folder")
    folders: dict[Path, str] = {}
    files, faults = [], {}
    for file in _walk(source, folders):
        if file.suffix.lower() == extension and not leads_out(file, source):
            if reason := _fault(file):
                faults[file] = reason
            else:
                files.append(file)
    left_out = folders | faults
    if not files:
        raise ClapError(
            f"{source}: contains no {extension} file{_but(source)}{_without(left_out)}; give the folder of the features"
        )
    return Found(sorted(files, key=lambda file: natural_key(file.relative_to(source).as_posix())), left_out)


def unreadable_folders(source: Path) -> dict[Path, str]:
    """The unreadable folders below (and including) a folder, with the reason; hidden ones are ignored."""
    faults: dict[Path, str] = {}
    for _ in _walk(source, faults):
        pass
    return faults


def _walk(source: Path, faults: dict[Path, str]) -> Iterator[Path]:
    """Yield the files below a folder, without hidden ones; links to folders are not followed.

    Unreadable folders are added to ``faults`` with the reason.
    """

    def note(error: OSError) -> None:
        faults[Path(error.filename)] = f"cannot be listed ({error.strerror}); {_PERMIT}"

    for folder, folders, names in os.walk(source, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if os.access(folder, os.X_OK, effective_ids=True):
            yield from (Path(folder, name) for name in names if not name.startswith("."))
        else:  # the folder can be listed, but its files cannot be opened
            faults[Path(folder)] = f"its files cannot be opened (Permission denied); {_PERMIT}"
            folders.clear()


def _fault(file: Path) -> str | None:
    """The reason why a file cannot be read; None if it can."""
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return "broken link; restore the file or remove the link"
    except OSError as error:
        return f"cannot be read ({error.strerror}); {_PERMIT}"
    if not file.is_file():
        return "neither a file nor a folder; remove it"
    if not os.access(file, os.R_OK, effective_ids=True):
        return f"cannot be read (Permission denied); {_PERMIT}"
    return None if size else "the file is empty; copy it again or remove it"


def outward_links(source: Path) -> list[Path]:
    """The links below a folder that lead out of it, sorted by name; they are not followed."""
    found = []
    for folder, folders, names in os.walk(source):
        if os.access(folder, os.X_OK, effective_ids=True):
            found += [path for name in folders + names if leads_out(path := Path(folder, name), source)]
        else:
            folders.clear()
    return sorted(found, key=lambda path: path.as_posix())


def group_by_video(files: Iterable[Path]) -> dict[str, Path]:
    """One file per video, sorted by name; raises :class:`ClapError` if two files have the same video name."""
    videos: dict[str, Path] = {}
    for file in files:
        first = videos.setdefault(video_name(file.name), file)
        if first != file:
            raise ClapError(
                f"{file}: same video '{video_name(file.name)}' as {first}; keep one of them, "
                "or use format vadclip if they are crops"
            )
    return {name: videos[name] for name in sorted(videos, key=natural_key)}


def choose_videos(
    videos: Mapping[str, T], index: Path | None, source: Path, left_out: Mapping[Path, str] | None = None
) -> dict[str, T]:
    """The videos of a list file, in its order (crop files of a video count once); without a list, all videos."""
    if index is None:
        return dict(videos)
    wanted = dict.fromkeys(entry.video for entry in read_list(index))
    missing = [video for video in wanted if video not in videos]
    if missing:
        raise ClapError(
            f"{index}: {len(missing)} of its {len(wanted)} videos are not in {source} (first: '{missing[0]}')"
            f"{_but(source)}{_without(left_out or {})}; add their files or remove them from the list"
        )
    return {video: videos[video] for video in wanted}


def _but(source: Path) -> str:
    links = outward_links(source)
    return f" (links out of the folder are not followed, the first is {links[0]})" if links else ""


def _without(left_out: Mapping[Path, str]) -> str:
    first = next(iter(left_out), None)
    return f" ({len(left_out)} were left out, the first is {first}: {left_out[first]})" if first else ""


def common_dtype(headers: Iterable[ArrayHeader]) -> str:
    """``float16`` if every file has it, else ``float32``."""
    return "float16" if all(header.dtype == np.float16 for header in headers) else "float32"


def refuse_names(names: Path | None) -> None:
    """Refuse ``--names`` for formats whose file names are the video names."""
    if names is not None:
        raise ClapError(f"{names}: --names is only for format clap with a nalist; leave it out")
