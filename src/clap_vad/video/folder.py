"""Which files of a folder are videos, whether the folder itself is one, and what the others are."""

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
    """What of a folder is to be read as a video, and what is left out.

    A name that tells is believed and nothing is opened; any other file is looked into. Pictures with numbers make the
    folder itself a video, unless recordings lie beside them. Time grows with the number of names, not faster.

    Args:
        folder: where they lie.
        names: the files in it.
        outward: those of them that are links out of what is searched, into which nobody looks.
        subfolders: whether there are folders in it as well; one lone picture is then no video.
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
            left.append(LeftOut(folder / name, "a file of another kind, by its name"))
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
    """Pictures that make up no video: a series of them may be missed, single ones go with the films."""
    series = [name for name in frames if Path(name).stem not in stems]
    if len(series) < 2:
        series = []
    rest = set(pictures).difference(series)
    found = [LeftOut(folder / name, "a picture that is no frame of a video") for name in sorted(rest)]
    if not series:
        return found
    told = (
        f"one of {len(series)} numbered pictures that lie beside recordings and are not read as a video; put them into "
        "a folder of their own"
    )
    return [*found, LeftOut(folder / series[0], told, doubtful=True)]
