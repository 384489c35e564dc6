"""File kinds by extension: video, sound, or a file that accompanies a video."""

from __future__ import annotations

from pathlib import Path

from .frames import frame_files

__all__ = [
    "SIDE_SUFFIXES",
    "SOUND_SUFFIXES",
    "VIDEO_EXTENSIONS",
    "VIDEO_SUFFIXES",
    "as_address",
    "frame_files",
    "is_video",
]

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    "mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "mts", "m2ts", "wmv", "asf", "flv", "3gp", "ogv",
    "vob", "h264", "264", "h265", "265", "hevc", "y4m", "mjpeg", "gif",
])
"""Extensions that are removed from a file name to get the video's name."""
_FURTHER_EXTENSIONS = frozenset([
    "dav", "mjpg", "mjp", "m1v", "m2v", "mpv", "mpe", "m2p", "m2t", "tp", "trp", "tod", "mod", "f4v", "divx", "xvid",
    "qt", "3g2", "3gpp", "ogm", "rm", "rmvb", "mxf", "dv", "ivf", "nut", "wtv", "avc", "h266", "266", "vvc", "av1",
    "obu", "lrv", "insv", "ismv", "mk3d",
])
VIDEO_SUFFIXES = frozenset(f".{extension}" for extension in VIDEO_EXTENSIONS | _FURTHER_EXTENSIONS)
"""Extensions of files that are read as videos without checking the content first."""
SOUND_SUFFIXES = frozenset([
    ".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".wma", ".mka", ".ac3", ".amr", ".aiff", ".aif",
    ".au", ".caf",
])
SIDE_SUFFIXES = frozenset([
    # text, subtitles, logs, tables
    ".txt", ".md", ".rst", ".log", ".srt", ".vtt", ".ass", ".ssa", ".smi", ".nfo", ".json", ".jsonl", ".csv", ".tsv",
    ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".properties", ".html", ".htm", ".css", ".js", ".gpx",
    ".kml", ".nmea", ".url", ".lnk",
    # check sums, lists of files
    ".md5", ".sha1", ".sha256", ".sha512", ".sfv", ".par2", ".m3u", ".m3u8", ".pls", ".torrent",
    # documents and programs
    ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".rtf", ".py", ".pyc", ".ipynb", ".sh",
    ".bat", ".cmd", ".ps1", ".exe", ".dll", ".so",
    # features, labels and models
    ".npy", ".npz", ".h5", ".hdf5", ".mat", ".pkl", ".pt", ".pth", ".onnx", ".safetensors",
])
"""Extensions of files that accompany recordings and are never videos."""
# fmt: on


def is_video(path: Path) -> bool:
    """Whether to read a path found in a folder: a video file, a folder of frames, or a sound file.

    A sound file is read so that it is reported, unless a video has the same name.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return bool(frame_files(path))
    if suffix in SOUND_SUFFIXES:
        return not any(path.with_suffix(video).exists() for video in VIDEO_SUFFIXES)
    return suffix in VIDEO_SUFFIXES


def as_address(path: Path) -> str:
    """The path in the form for FFmpeg, which would take a name like ``cam:1.mp4`` for an address.

    >>> as_address(Path("/videos/cam:1.mp4"))
    'file:/videos/cam:1.mp4'
    """
    return f"file:{path.absolute()}"
