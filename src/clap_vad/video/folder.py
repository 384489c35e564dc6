"""Sorting the files of a folder: videos, a folder of frames, and files left out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from .access import unreadable
from .content import Content, content_of
from .frames import PICTURE_SUFFIXES, UNREAD_PICTURES, frames_among
from .names import SIDE_SUFFIXES, SOUND_SUFFIXES, VIDEO_SUFFIXES
from .sorting import LeftOut, Sorted

__all__ = ["sort_videos"]

_DOUBTFUL = {Content.ARCHIVE, Content.UNKNOWN}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "icon\r"}


def sort_videos(folder: Path, names: Sequence[str], outward: Collection[str], subfolders: bool) -> Sorted:
    """Sort the files of a folder into videos and files left out.

    Files with a known extension are not opened; others are detected by content. Numbered pictures make the folder
    itself a video, unless it also contains recordings. Time is linear in the number of names.

    Args:
        folder: the folder.
        names: its files.
        outward: files that are links out of the searched folder; they are not opened.
        subfolders: whether it has subfolders; a single picture is then not a video.
    """
    films: list[str] = []
    sound: list[str] = []
    pictures: list[str] = []
    left: list[LeftOut] = []
    for name in names:
        suffix = Path(name).suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            films.append(name)
        elif suffix in SOUND_SUFFIXES:
            sound.append(name)
        elif suffix in PICTURE_SUFFIXES or suffix in UNREAD_PICTURES:
            pictures.append(name)
        elif suffix in SIDE_SUFFIXES or name.lower() in _SYSTEM_FILES:
            left.append(LeftOut(folder / name, "not a video, by its name"))
        elif name in outward:
            films.append(name)
        else:
            _look_into(folder / name, name, films, sound, left)
    frames = frames_among(names)
    as_frames = not films and (len(frames.files) > 1 or (bool(frames.files) and not subfolders))
    stems = {Path(name).stem for name in films}
    beside = [name for name in sound if as_frames or Path(name).stem in stems]
    left += [LeftOut(folder / name, "sound that belongs to a video") for name in beside]
    inputs = [folder / name for name in sorted({*films, *sound} - set(beside))]
    if as_frames:
        return Sorted([folder, *inputs], left)
    return Sorted(inputs, left + _pictures_left(folder, pictures, frames.files, stems))


def _look_into(path: Path, name: str, films: list[str], sound: list[str], left: list[LeftOut]) -> None:
    try:
        content = content_of(path)
    except OSError as error:
        left.append(LeftOut(path, unreadable(error), doubtful=True))
        return
    if content is Content.VIDEO:
        films.append(name)
    elif content is Content.SOUND:
        sound.append(name)
    else:
        left.append(LeftOut(path, content.value, doubtful=content in _DOUBTFUL))


def _pictures_left(
    folder: Path, pictures: Sequence[str], frames: Sequence[str], stems: Collection[str]
) -> list[LeftOut]:
    """Pictures that are not read as a video. Only a numbered series is doubtful, single pictures are not."""
    series = [name for name in frames if Path(name).stem not in stems]
    if len(series) < 2:
        series = []
    rest = set(pictures).difference(series)
    found = [LeftOut(folder / name, "a picture that is not a video frame") for name in sorted(rest)]
    if not series:
        return found
    told = (
        f"one of {len(series)} numbered pictures, not read as a video because the folder also contains recordings; "
        "move them into their own folder"
    )
    return [*found, LeftOut(folder / series[0], told, doubtful=True)]
