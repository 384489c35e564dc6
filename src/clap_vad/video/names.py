"""What is a video among files and folders, told by names alone."""

from __future__ import annotations

from pathlib import Path

from ..core.naming import natural_key

__all__ = ["VIDEO_EXTENSIONS", "as_address", "frame_files", "is_video"]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "asf", "flv", "3gp", "ogv",
    "vob", "h264", "264", "h265", "265", "hevc", "y4m", "mjpeg", "gif",
])
# fmt: on
_VIDEO_SUFFIXES = {f".{extension}" for extension in VIDEO_EXTENSIONS}
_AUDIO_SUFFIXES = {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma"}
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


def is_video(path: Path) -> bool:
    """Whether a path met in a folder is to be tried: a video file, a folder of frames, or sound without a picture.

    Sound is tried so that it is reported rather than missed, unless a video of the same name stands beside it.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return bool(frame_files(path))
    if suffix in _AUDIO_SUFFIXES:
        return not any(
            other.suffix.lower() in _VIDEO_SUFFIXES for other in path.parent.glob("*") if other.stem == path.stem
        )
    return suffix in _VIDEO_SUFFIXES


def frame_files(folder: Path) -> list[Path]:
    """The numbered pictures that make a folder one video, in order of their numbers."""
    pictures = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _IMAGE_SUFFIXES and file.stem[-1:].isdigit() and not file.name.startswith(".")
    ]
    return sorted(pictures, key=lambda file: natural_key(file.name))


def as_address(path: Path) -> str:
    """A file as FFmpeg is told of it, which would take a name like ``cam:1.mp4`` for an address.

    >>> as_address(Path("/videos/cam:1.mp4"))
    'file:/videos/cam:1.mp4'
    """
    return f"file:{path.absolute()}"
