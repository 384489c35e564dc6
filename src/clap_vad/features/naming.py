"""The rule for video names, shared by extractors, importers and datasets."""

from __future__ import annotations

import re

from ..video.names import VIDEO_EXTENSIONS

__all__ = ["KNOWN_EXTENSIONS", "video_name"]

KNOWN_EXTENSIONS = VIDEO_EXTENSIONS | {"npy", "npz", "txt", "csv"}

_SUFFIXES = re.compile(r"(.+?)(?:_i3d)?(?:__\d)?", re.DOTALL)


def video_name(path: str) -> str:
    """The video name of a file: its stem without the suffixes ``_i3d`` and ``__<digit>`` (a crop of ten-crop features).

    Only a known extension is removed, as names may contain dots. POSIX and Windows separators are accepted, as lists
    come from other machines. Surrounding white space is removed.

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
