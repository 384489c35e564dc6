"""Finding and reading the published files of a benchmark: lists, annotations, features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ClapError
from ..features.importing.folders import unreadable_folders
from ..features.importing.lists import read_list, unique_names
from ..tables.text import read_text, split_lines

__all__ = ["find_file", "find_files", "read_lines", "read_names", "read_segment_counts"]


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files below ``folder`` that match the first pattern with a match, sorted.

    Unreadable folders are skipped, see :func:`~clap_vad.features.importing.folders.unreadable_folders`.
    """
    if not folder.is_dir():
        raise ClapError(f"{folder}: no such folder; give the folder of the published files")
    for pattern in patterns:
        if hits := sorted(path for path in folder.rglob(pattern) if _is_file(path)):
            return hits
    return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a folder that can be listed but not entered
        return False


def find_file(folder: Path, what: str, patterns: Sequence[str]) -> Path:
    """The one matching file; raises :class:`ClapError` if there is none, or several with different contents."""
    hits = find_files(folder, patterns)
    if not hits:
        faults = unreadable_folders(folder)
        hidden = "".join(f"; {path}: {why}" for path, why in list(faults.items())[:1])
        raise ClapError(f"{folder}: {what} not found; add a file named {' or '.join(patterns)}{hidden}")
    if len(hits) > 1 and any(other.read_bytes() != hits[0].read_bytes() for other in hits[1:]):
        raise ClapError(f"{folder}: several files could be the {what} ({', '.join(map(str, hits))}); keep one of them")
    return hits[0]


def read_lines(file: Path) -> list[tuple[int, str]]:
    """Non-empty lines of a UTF-8 text file with their numbers; raises :class:`ClapError` if there are none."""
    text = read_text(file, "give the published file")
    lines = [(number, line.strip()) for number, line in enumerate(split_lines(text), start=1) if line.strip()]
    if not lines:
        raise ClapError(f"{file}: the file is empty; give the published file")
    return lines


def read_names(file: Path) -> list[str]:
    """Video names of a list, in its order. Crop files of a video count once; other repetitions are an error."""
    return [entry.video for entry in unique_names(file, read_list(file))]


def read_segment_counts(file: Path) -> dict[str, int]:
    """Segments per video from a list of ``path,start,stop``; videos without rows in their line are left out."""
    return {entry.video: entry.rows[1] - entry.rows[0] for entry in read_list(file) if entry.rows is not None}
