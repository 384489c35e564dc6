"""One rule for the name of a video, shared by extractors, importers and datasets."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["KNOWN_EXTENSIONS", "VIDEO_EXTENSIONS", "natural_key", "unprintable", "video_name"]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "asf", "flv", "3gp", "ogv",
    "vob", "h264", "264", "h265", "265", "hevc", "y4m", "mjpeg", "gif",
])
# fmt: on
KNOWN_EXTENSIONS = VIDEO_EXTENSIONS | {"npy", "npz", "txt", "csv"}

_SUFFIXES = re.compile(r"(.+?)(?:_i3d)?(?:__\d)?", re.DOTALL)


def unprintable(text: str) -> bool:
    """Whether a name holds control characters, line ends, or what UTF-8 cannot hold: nothing should be called so.

    >>> unprintable("Großer Platz 3"), unprintable("a\\nb")
    (False, True)
    """
    return any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def video_name(path: str) -> str:
    """Name of the video a file belongs to: its stem without the suffixes ``_i3d`` and ``__<digit>`` (a crop).

    Only a known final extension is cut, since names of films hold dots. POSIX and Windows separators both count, as
    published lists come from other machines; surrounding white space goes.

    >>> video_name("/home/a/UCF_Train_ten_crop_i3d/Abuse002_x264_i3d.npy")
    'Abuse002_x264'
    >>> video_name("Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0__0.npy")
    'Bad.Boys.1995__#00-26-51_00-27-53_label_B2-0-0'
    >>> video_name("D:\\\\features\\\\gate 3.mp4")
    'gate 3'
    """
    name = re.split(r"[/\\]", path.strip().rstrip("/\\"))[-1]
    stem, dot, extension = name.rpartition(".")
    if dot and stem and extension.lower() in KNOWN_EXTENSIONS:
        name = stem
    match = _SUFFIXES.fullmatch(name.strip())
    return match[1].strip() if match else name.strip()


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key that counts digits as numbers; the text itself settles ties, so the order is total.

    >>> sorted(["clip10", "clip2", "clip02"], key=natural_key)
    ['clip02', 'clip2', 'clip10']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text
