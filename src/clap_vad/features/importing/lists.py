"""List files of published features: one path per line, sometimes followed by its rows or a label.

Every release depends on the order and row ranges of such a file, so they are checked here.
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
        path: the path in the file; only its last part is used.
        line: line number, from 1.
        rows: (start, stop); None if the line has none.
    """

    video: str
    path: str
    line: int
    rows: tuple[int, int] | None = None


def read_list(file: Path) -> list[Listed]:
    """Read a list file: ``path``, ``path,start,stop`` or ``path,label``, separated by comma or white space.

    Paths may come from any system (also Windows), contain spaces and be in double quotes. A header line, empty lines
    and empty spreadsheet rows are skipped.

    Raises:
        ClapError: the file is missing, not text or empty, or a line has an invalid range.
    """
    text = read_text(file, "give the right list or nalist, saved as UTF-8")
    lines = [(number, line.strip(" \t,;|")) for number, line in enumerate(split_lines(text), 1)]
    if lines and re.fullmatch(r'"?sep=.?"?', lines[0][1], re.IGNORECASE):  # Excel's first line
        lines = lines[1:]
    lines = [(number, line) for number, line in lines if line]
    entries = [_parse(file, number, line) for number, line in lines[bool(lines) and _is_heading(lines[0][1]) :]]
    if not entries:
        raise ClapError(f"{file}: lists no videos; give the list of the features")
    return entries


def read_nalist(file: Path, names: Sequence[Listed]) -> list[Listed]:
    """Read a ``nalist`` (V, 2) of start and stop rows; ``names`` are the names of its videos in order.

    Raises:
        ClapError: another shape or type, another number of names, names with different rows, or names with different
            durations (names of XD-Violence contain start and end of the clip).
    """
    rows = map_npy(file)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ClapError(f"{file}: {rows.dtype} {rows.shape}; give integers (videos, 2), start and stop")
    if len(rows) != len(names):
        raise ClapError(
            f"{file}: {len(rows)} videos, but {len(names)} names; give the list that belongs to it "
            "(the UCF-Crime nalist.npy of the CLAP release has 1609 videos and belongs to concat_UCF.npy; the "
            "1608 of concat_UCF_V2.npy are in UCF_Train_ten_crop_i3d_complete_V1.txt)"
        )
    entries = []
    for (start, stop), name in zip(np.asarray(rows).tolist(), names, strict=True):
        if name.rows not in (None, (start, stop)):
            raise ClapError(
                f"{file}: video '{name.video}' has rows [{start}, {stop}) but {name.rows} in the list of names; "
                "the orders differ, give the list of names as --index"
            )
        entries.append(Listed(name.video, name.path, name.line, (start, stop)))
    _check_durations(file, entries)
    return entries


def unique_names(file: Path, entries: Sequence[Listed]) -> list[Listed]:
    """One entry per video. Consecutive crop files of a video count once; other repetitions are an error."""
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
    """Check that the row ranges of ``entries`` cover [0, rows) without gap or overlap, in any order.

    Raises:
        ClapError: a missing or empty range, a gap, an overlap, or a different number of rows.
    """
    ranges = []
    for entry in entries:
        if entry.rows is None:
            raise ClapError(f"{file}: line {entry.line}: no start and stop rows; write 'path,start,stop'")
        if not 0 <= entry.rows[0] < entry.rows[1]:
            raise ClapError(f"{file}: video '{entry.video}': rows {list(entry.rows)} are empty or negative; fix them")
        ranges.append((*entry.rows, entry.video))
    ranges.sort()
    last = max(stop for _, stop, _ in ranges)
    if last != rows:
        raise ClapError(
            f"{file}: its last row is {last} but {features.name} has {rows}; give the index that belongs to this file "
            "(UCF-Crime of the CLAP release: concat_UCF_V2.npy, 779780 rows, goes with "
            "UCF_Train_ten_crop_i3d_complete_V1.txt; nalist.npy, 779951 rows, with concat_UCF.npy)"
        )
    end, before = 0, "the start of the file"
    for start, stop, video in ranges:
        if start != end:
            fault = f"leaves a gap [{end}, {start})" if start > end else f"overlaps in rows [{start}, {end})"
            raise ClapError(f"{file}: video '{video}' {fault} after {before}; every row must belong to one video")
        end, before = stop, f"'{video}'"


def _check_durations(file: Path, entries: Sequence[Listed]) -> None:
    """Refuse names in another order than the rows, if the names contain durations."""
    seconds, rows = [], []
    for entry in entries:
        times = _CLIP_TIMES.search(entry.video)
        if times and entry.rows:
            h1, m1, s1, h2, m2, s2 = map(int, times.groups())
            duration = 3600 * (h2 - h1) + 60 * (m2 - m1) + s2 - s1
            if duration > 0 and entry.rows[1] > entry.rows[0]:
                seconds.append(duration)
                rows.append(entry.rows[1] - entry.rows[0])
    if len(seconds) < _ENOUGH_CLIPS or len(set(seconds)) == 1 or len(set(rows)) == 1:
        return
    fit = float(np.corrcoef(np.log(seconds), np.log(rows))[0, 1])
    if fit < 0.9:
        raise ClapError(
            f"{file}: its rows do not fit the durations in the names (correlation {fit:.2f}), the names have "
            "another order; nalist_XD.npy has the lines of rgb_train.list with 'label_A' first, then the others: "
            "(grep label_A LIST; grep -v label_A LIST) > NAMES"
        )


def _is_heading(line: str) -> bool:
    """Whether the first line is a header; ``video 3.mp4`` is a video.

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
        raise ClapError(f"{file}: line {number}: rows {rest.strip()!r} are not integers; correct them")
    video = video_name(path)
    if not video:
        raise ClapError(f"{file}: line {number}: {line!r} names no video; correct the line")
    if unprintable(video):
        raise ClapError(f"{file}: line {number}: {video!r} cannot name a video; use only printable characters")
    return Listed(video, path, number, rows)
