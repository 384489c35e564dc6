"""List files of published features: one path a line, sometimes with its rows or a label behind it.

Order and ranges of such a file are an unwritten contract of every release, so they are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ClapError, unprintable
from ...tables.text import read_text, split_lines
from ..naming import KNOWN_EXTENSIONS, video_name
from ..store.npyfile import map_npy

__all__ = ["Listed", "check_tiling", "read_list", "read_nalist", "unique_names"]

_EXTENSION = "|".join(sorted(KNOWN_EXTENSIONS))
_QUOTED = re.compile(r'"(?P<path>(?:[^"]|"")*)"\s*(?P<rest>(?:[,;|\s].*)?)')
_WITH_EXTENSION = re.compile(rf"(?P<path>.*\.(?:{_EXTENSION}))\"?(?:[,;|\s]+(?P<rest>.*))?", re.IGNORECASE)
_WITH_ROWS = re.compile(r"(?P<path>.*?)[,;|\s]+(?P<rest>-?\d+[,;|\s]+-?\d+)")
_CLIP_TIMES = re.compile(r"#(\d+)-(\d+)-(\d+)_(\d+)-(\d+)-(\d+)")
_ENOUGH_CLIPS = 20
_HEADERS = ("path", "video", "name", "file", "filename")


@dataclass(frozen=True)
class Listed:
    """One entry of a list file.

    Attributes:
        video: name of the video.
        path: as it stands in the file; only its last part means anything here.
        line: number of the line, from 1.
        rows: (start, stop) where the line gives them.
    """

    video: str
    path: str
    line: int
    rows: tuple[int, int] | None = None


def read_list(file: Path) -> list[Listed]:
    """Entries of a list file: ``path``, ``path,start,stop`` or ``path,label``, by comma or white space.

    Paths may be of any machine (also Windows), hold spaces and stand in double quotes; a heading line, empty lines
    and empty rows of a spreadsheet are passed over.

    Raises:
        ClapError: missing file, not text, nothing in it, or a line with a range that cannot be.
    """
    text = read_text(file, "give the list or the nalist that belongs there, saved as UTF-8")
    lines = [(number, line.strip(" \t,;|")) for number, line in enumerate(split_lines(text), 1)]
    if lines and re.fullmatch(r'"?sep=.?"?', lines[0][1], re.IGNORECASE):  # Excel's first line
        lines = lines[1:]
    lines = [(number, line) for number, line in lines if line]
    entries = [_parse(file, number, line) for number, line in lines[bool(lines) and _is_heading(lines[0][1]) :]]
    if not entries:
        raise ClapError(f"{file}: lists no videos")
    return entries


def read_nalist(file: Path, names: Sequence[Listed]) -> list[Listed]:
    """Entries of a bare ``nalist`` (V, 2) of start and stop rows, named in order by ``names``.

    Raises:
        ClapError: another shape or type, another number of names, names that come with other rows of their own, or
            names that tell of other durations (XD-Violence writes begin and end of a clip into its name).
    """
    rows = map_npy(file)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ClapError(f"{file}: {rows.dtype} {rows.shape}; whole numbers (videos, 2) of start and stop are needed")
    if len(rows) != len(names):
        raise ClapError(
            f"{file}: {len(rows)} videos, but {len(names)} names are given for them; give the list made together with "
            "it (the UCF-Crime nalist.npy of the CLAP release has 1609 videos and belongs to concat_UCF.npy; the "
            "1608 of concat_UCF_V2.npy are in UCF_Train_ten_crop_i3d_complete_V1.txt)"
        )
    entries = []
    for (start, stop), name in zip(np.asarray(rows).tolist(), names, strict=True):
        if name.rows not in (None, (start, stop)):
            raise ClapError(
                f"{file}: video '{name.video}' has rows [{start}, {stop}) here but {name.rows} in the list of names; "
                "the two are in different orders: give that list itself as --index"
            )
        entries.append(Listed(name.video, name.path, name.line, (start, stop)))
    _check_durations(file, entries)
    return entries


def unique_names(file: Path, entries: Sequence[Listed]) -> list[Listed]:
    """One entry per video: consecutive crop files of a video count once, any other repetition is an error."""
    kept: dict[str, Listed] = {}
    previous = ""
    for entry in entries:
        first = kept.setdefault(entry.video, entry)
        crops = previous == entry.video and entry.path != first.path and _is_crop(entry) and _is_crop(first)
        if first is not entry and not crops:
            raise ClapError(
                f"{file}: line {entry.line}: '{entry.path}' and '{first.path}' (line {first.line}) are both video "
                f"'{entry.video}'; names must be unique"
            )
        previous = entry.video
    return list(kept.values())


def check_tiling(file: Path, entries: Sequence[Listed], features: Path, rows: int) -> None:
    """Check that the ranges of ``entries`` fill [0, rows) without gap or overlap, whatever their order.

    Raises:
        ClapError: a line without range, an empty range, a gap, an overlap, or another end than the features have.
    """
    ranges = []
    for entry in entries:
        if entry.rows is None:
            raise ClapError(f"{file}: line {entry.line}: no start and stop rows; 'path,start,stop' is needed")
        if not 0 <= entry.rows[0] < entry.rows[1]:
            raise ClapError(f"{file}: video '{entry.video}': rows {list(entry.rows)} are empty or negative")
        ranges.append((*entry.rows, entry.video))
    ranges.sort()
    last = max(stop for _, stop, _ in ranges)
    if last != rows:
        raise ClapError(
            f"{file}: its last row is {last} but {features.name} holds {rows}; give the index made for this file "
            "(UCF-Crime of the CLAP release: concat_UCF_V2.npy, 779780 rows, goes with "
            "UCF_Train_ten_crop_i3d_complete_V1.txt; nalist.npy, 779951 rows, with concat_UCF.npy)"
        )
    end, before = 0, "the start of the file"
    for start, stop, video in ranges:
        if start != end:
            fault = f"leaves rows [{end}, {start}) to nobody" if start > end else f"shares rows [{start}, {end})"
            raise ClapError(f"{file}: video '{video}' {fault} after {before}; every row must belong to one video")
        end, before = stop, f"'{video}'"


def _check_durations(file: Path, entries: Sequence[Listed]) -> None:
    """Refuse names in another order than the rows, where the names say how long their videos are."""
    seconds, rows = [], []
    for entry in entries:
        times = _CLIP_TIMES.search(entry.video)
        if times and entry.rows:
            h1, m1, s1, h2, m2, s2 = map(int, times.groups())
            told = 3600 * (h2 - h1) + 60 * (m2 - m1) + s2 - s1
            if told > 0 and entry.rows[1] > entry.rows[0]:
                seconds.append(told)
                rows.append(entry.rows[1] - entry.rows[0])
    if len(seconds) < _ENOUGH_CLIPS or len(set(seconds)) == 1 or len(set(rows)) == 1:
        return
    fit = float(np.corrcoef(np.log(seconds), np.log(rows))[0, 1])
    if fit < 0.9:
        raise ClapError(
            f"{file}: its rows do not fit the durations in the names (correlation {fit:.2f}), so the names are in "
            "another order; nalist_XD.npy has the lines of rgb_train.list with 'label_A' first, then the others: "
            "(grep label_A LIST; grep -v label_A LIST) > NAMES"
        )


def _is_heading(line: str) -> bool:
    """Whether a first line names columns; ``video 3.mp4`` is a video.

    >>> _is_heading('"Path";"start"'), _is_heading("video 3.mp4,0,9")
    (True, False)
    """
    words = re.split(r"[\s,;|]+", line.replace('"', " ").strip())
    return words[0].lower() in _HEADERS and not re.search(r"[\d./\\]", line)


def _is_crop(entry: Listed) -> bool:
    return entry.rows is None and re.search(r"__\d(\.\w+)?$", entry.path) is not None


def _parse(file: Path, number: int, line: str) -> Listed:
    quoted = _QUOTED.fullmatch(line)
    if quoted:
        line = ",".join([quoted["path"].replace('""', '"'), *re.split(r"[,;|\s]+", quoted["rest"].replace('"', ""))])
    line = line.strip('" ,')
    match = _WITH_EXTENSION.fullmatch(line) or _WITH_ROWS.fullmatch(line)
    path, rest = (match["path"].strip(' "'), match["rest"] or "") if match else (line, "")
    fields = re.split(r"[,;|\s]+", rest.strip())
    rows = None
    if len(fields) == 2 and all(re.fullmatch(r"-?\d+", field) for field in fields):
        rows = (int(fields[0]), int(fields[1]))
    elif len(fields) == 2 and all(re.fullmatch(r"[-+.\deE]+", field) for field in fields):
        raise ClapError(f"{file}: line {number}: rows {rest.strip()!r} are not whole numbers")
    video = video_name(path)
    if not video:
        raise ClapError(f"{file}: line {number}: {line!r} names no video")
    if unprintable(video):
        raise ClapError(f"{file}: line {number}: {video!r} cannot name a video; take printable characters")
    return Listed(video, path, number, rows)
