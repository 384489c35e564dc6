"""What the importers of one-file-per-video folders share: finding, choosing and checking the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..core.naming import natural_key
from ..errors import ClapError
from ..persistence import ArrayHeader
from ..video.links import leads_out
from .lists import read_list
from .naming import video_name

__all__ = ["choose_videos", "common_dtype", "find_files", "group_by_video", "outward_links", "refuse_names"]

T = TypeVar("T")


def find_files(source: Path, extension: str) -> list[Path]:
    """Files below ``source`` (or ``source`` itself) with an extension, naturally sorted.

    Hidden ones are left out, and so are :func:`outward_links`.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ClapError(f"{source}: no such file or folder")
    found = [
        file
        for file in source.rglob("*")
        if file.suffix.lower() == extension
        and not leads_out(file, source)
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(source).parts)
    ]
    if not found:
        raise ClapError(f"{source}: holds no {extension} file{_but(source)}; name the folder with the features")
    return sorted(found, key=lambda file: natural_key(file.relative_to(source).as_posix()))


def outward_links(source: Path) -> list[Path]:
    """The links below a folder that lead out of it, which are not followed; in order of their names."""
    if not source.is_dir():
        return []
    return sorted((path for path in source.rglob("*") if leads_out(path, source)), key=lambda path: path.as_posix())


def group_by_video(files: Iterable[Path]) -> dict[str, Path]:
    """One file per video name, sorted by name; raises :class:`ClapError` naming both files of a repeated name."""
    videos: dict[str, Path] = {}
    for file in files:
        first = videos.setdefault(video_name(file.name), file)
        if first != file:
            raise ClapError(
                f"{file}: same video '{video_name(file.name)}' as {first}; keep one of them, "
                "or use format vadclip if they are crops"
            )
    return {name: videos[name] for name in sorted(videos, key=natural_key)}


def choose_videos(found: Mapping[str, T], index: Path | None, source: Path) -> dict[str, T]:
    """The videos a list file names, in its order (crop files of a video count once); all of them without a list."""
    if index is None:
        return dict(found)
    wanted = dict.fromkeys(entry.video for entry in read_list(index))
    missing = [video for video in wanted if video not in found]
    if missing:
        raise ClapError(
            f"{index}: {len(missing)} of its {len(wanted)} videos are not in {source} (first: '{missing[0]}')"
            f"{_but(source)}; add their files or take them off the list"
        )
    return {video: found[video] for video in wanted}


def _but(source: Path) -> str:
    links = outward_links(source)
    return f" (links that lead out of it are not followed, the first is {links[0]})" if links else ""


def common_dtype(headers: Iterable[ArrayHeader]) -> str:
    """``float16`` where every file has it, else ``float32``."""
    return "float16" if all(header.dtype == np.float16 for header in headers) else "float32"


def refuse_names(names: Path | None) -> None:
    """Formats whose files carry their names take no list of names."""
    if names is not None:
        raise ClapError(f"{names}: --names goes with format clap and a bare nalist only; leave it out")
