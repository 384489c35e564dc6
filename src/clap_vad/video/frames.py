"""Folders of frames: which pictures form the video, in which order, and which do not belong to it.

A name is split into numbers and the text between them. Names that differ only in their numbers form a series:
``frame_0001_rgb.png``, ``IMG (1).jpg`` and ``2024-01-31T10-00-00.123.jpg`` each belong to one. A date or time counts as
one number.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.text.naming import natural_key
from ..errors import harmless

__all__ = ["PICTURE_SUFFIXES", "UNREAD_PICTURES", "Frames", "frame_files", "frames_among", "frames_in"]

# fmt: off
PICTURE_SUFFIXES = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".jp2", ".avif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".ras", ".sr",
])
"""Extensions of pictures that OpenCV decodes."""
UNREAD_PICTURES = frozenset([
    ".heic", ".heif", ".jxl", ".j2k", ".jpx", ".dng", ".cr2", ".nef", ".arw", ".raw", ".exr", ".hdr", ".tga", ".psd",
    ".svg", ".ico",
])
"""Extensions of pictures in unsupported formats."""
# fmt: on

_DIGITS = re.compile("[0-9]+")
_MOMENT = re.compile(
    r"(?<![0-9])(?:"
    r"(?:19|20)[0-9]{2}(?P<mark>[-_.]?)(?:0[1-9]|1[0-2])(?P=mark)(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[t_ .-]*[0-2][0-9][-_.:h]?[0-5][0-9][-_.:m]?[0-5][0-9](?:[-_.s,]?[0-9]{1,9})?)?"
    r"|[0-2][0-9](?P<colon>[-_.:])[0-5][0-9](?P=colon)[0-5][0-9](?:[-_.,][0-9]{1,9})?"
    r"|[0-9]{1,2}h[0-5]?[0-9]m[0-5]?[0-9]"
    r"|1[0-9]{9}(?:[-_.]?[0-9]{3,9})?"
    r")(?![0-9])"
)
"""A date with or without a time of day, a time of day, or seconds since 1970."""


@dataclass(frozen=True)
class Frames:
    """The pictures of a folder that form one video.

    Attributes:
        files: their names, ordered by number.
        missing: sentence about pictures left out that may belong to the video; None if there are none.
        note: sentence about duplicate pictures; None if there are none.
    """

    files: tuple[str, ...] = ()
    missing: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class _Name:
    """A picture's name: the text around its numbers, the numbers, and for each the date or time it belongs to, or 0."""

    file: str
    text: tuple[str, ...]
    numbers: tuple[int, ...]
    moments: tuple[int, ...]

    @classmethod
    def of(cls, file: str) -> _Name:
        stem = Path(file).stem.casefold()
        found = list(_DIGITS.finditer(stem))
        spans = [match.span() for match in _MOMENT.finditer(stem)]
        within = (sum(k for k, (a, b) in enumerate(spans, 1) if a <= match.start() < b) for match in found)
        return cls(file, tuple(_DIGITS.split(stem)), tuple(int(match[0]) for match in found), tuple(within))


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a frame folder, ordered by number."""
    return [folder / file for file in frames_in(folder).files]


def frames_in(folder: Path) -> Frames:
    """The frames of a folder. The folder is listed once.

    Raises:
        OSError: the folder cannot be listed.
    """
    return frames_among(entry.name for entry in folder.iterdir())


def frames_among(names: Iterable[str]) -> Frames:
    """The frames among file names: the series with the most pictures.

    >>> mixed = frames_among(["f10.jpg", "f2.webp", "f3.jpg", "cover.jpg"])
    >>> mixed.files, mixed.missing
    (('f2.webp', 'f3.jpg', 'f10.jpg'), '1 picture without a number is left out (cover.jpg)')
    >>> two = frames_among(["cam1_01.jpg", "cam1_02.jpg", "cam2_01.jpg", "cam2_02.jpg"])
    >>> two.files
    ('cam1_01.jpg', 'cam1_02.jpg')
    """
    shown = [name for name in names if not name.startswith(".")]
    pictures = [_Name.of(name) for name in shown if Path(name).suffix.lower() in PICTURE_SUFFIXES]
    unread = [name for name in shown if Path(name).suffix.lower() in UNREAD_PICTURES]
    numbered = [name for name in pictures if name.numbers]
    if not numbered:
        return Frames()
    groups: dict[tuple[str, ...], list[_Name]] = defaultdict(list)
    for name in numbered:
        groups[name.text].append(name)
    series = [part for group in groups.values() for part in _split(group)]
    series.sort(key=lambda part: (-len(part), natural_key(min(part, key=_order).file)))
    whole, copies, doubled = _once(sorted(series[0], key=_order))
    parts = []
    if others := [name.file for part in series[1:] for name in sorted(part, key=_order)]:
        kinds = "another series" if len(series) == 2 else f"{len(series) - 1} other series"
        parts.append(f"{_pictures(others, f' of {kinds}', left_out=True)}; give each series its own folder")
    if lone := sorted((name.file for name in pictures if not name.numbers), key=natural_key):
        parts.append(_pictures(lone, " without a number", left_out=True))
    if doubled:
        parts.append(_pictures(doubled, " with the number of another picture", left_out=True))
    if unread:
        unsupported = _pictures(sorted(unread, key=natural_key), " in an unsupported format", left_out=True)
        parts.append(f"{unsupported}; convert to jpg or png")
    note = f"{_pictures(copies)} also there in another format" if copies else None
    return Frames(tuple(name.file for name in whole), "; ".join(parts) or None, note)


def _order(name: _Name) -> tuple[tuple[int, ...], tuple[list[str | int], str]]:
    return name.numbers, natural_key(name.file)


def _split(group: Sequence[_Name]) -> list[list[_Name]]:
    """The series among names with the same text: several if one number identifies cameras and another counts."""
    units: list[list[int]] = []  # numbers that form a date or time in all names count as one
    for k in range(len(group[0].numbers)):
        part = {name.moments[k] for name in group}
        joined = k and part == {name.moments[k - 1] for name in group} and len(part) == 1 and part != {0}
        units = [*units[:-1], [*units[-1], k]] if joined else [*units, [k]]
    values = [[tuple(name.numbers[k] for k in unit) for name in group] for unit in units]
    varying = [k for k in range(len(units)) if len(set(values[k])) > 1]
    if len(varying) < 2:
        return [list(group)]
    counter = max(varying, key=lambda k: (len(set(values[k])), k))
    keys = [k for k in varying if k != counter and not all(name.moments[units[k][0]] for name in group)]
    parts: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
    for number in range(len(group)):
        parts[tuple(values[k][number] for k in keys)].append(number)
    ranges = sorted(
        (min(counted), max(counted)) for counted in ([values[counter][n] for n in p] for p in parts.values())
    )
    overlap = any(now[0] <= before[1] for before, now in itertools.pairwise(ranges))
    # if the counter has no duplicates, numbers after it do not matter
    free = all(k > counter for k in keys) and len(set(values[counter])) == len({name.numbers for name in group})
    return [[group[n] for n in part] for part in parts.values()] if overlap and not free else [list(group)]


def _once(series: Sequence[_Name]) -> tuple[list[_Name], list[str], list[str]]:
    """Keep one name per number: names kept, the same names in another format, other names with the same number."""
    common = Counter(Path(name.file).suffix.lower() for name in series)
    by_number: dict[tuple[int, ...], list[_Name]] = defaultdict(list)
    for name in series:
        by_number[name.numbers].append(name)
    kept: list[_Name] = []
    copies: list[str] = []
    doubled: list[str] = []
    for same in by_number.values():
        first, *others = sorted(same, key=lambda name: -common[Path(name.file).suffix.lower()])
        kept.append(first)
        for other in others:
            twin = Path(other.file).stem.casefold() == Path(first.file).stem.casefold()
            (copies if twin else doubled).append(other.file)
    return kept, copies, doubled


def _pictures(names: Sequence[str], what: str = "", left_out: bool = False) -> str:
    one = len(names) == 1
    verb = "is" if one else "are"
    noun = f"{len(names)} picture{'' if one else 's'}{what}"
    example = harmless(names[0]) if one else f"the first is {harmless(names[0])}"
    return f"{noun} {verb} left out ({example})" if left_out else f"{noun} ({example}) {verb}"
