"""The container formats and protocols that FFmpeg may use.

FFmpeg detects a format from the content, not from the name. Some of its formats refer to other files or addresses:
play lists (concat, m3u8, DASH), stream descriptions (SDP), name patterns (``image2``). A text named ``gate.mp4`` could
make it read any file or address. So only the formats below, which contain their own pictures, are accepted, and a
stream never leads to a file of this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ClapError
from .access import UNREADABLE, no_file, unreadable
from .names import as_address

__all__ = ["FILE_FORMATS", "STREAM_FORMATS", "leads_elsewhere", "open_file", "reason_of", "stream_options"]

# fmt: off
FILE_FORMATS = (
    # containers: mov is also mp4, m4v, m4a and 3gp, matroska also webm, mpeg also mpg and vob, asf also wmv
    "mov", "matroska", "avi", "mpeg", "mpegts", "asf", "flv", "ogg", "nut", "ivf", "dv", "mxf", "rm", "wtv",
    "dhav",  # recorders of Dahua
    # raw streams
    "h264", "hevc", "vvc", "m4v", "mpegvideo", "h261", "h263", "vc1", "obu", "dirac", "cavsvideo", "avs2", "avs3",
    "mjpeg", "mpjpeg", "yuv4mpegpipe",
    # moving and single pictures; each reads only the given file
    "gif", "apng", "jpeg_pipe", "png_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe",
    # sound: opened to report that there is no picture in it
    "wav", "mp3", "aac", "ac3", "eac3", "flac", "aiff", "au", "amr", "caf",
)
"""FFmpeg's names of the accepted file formats; each contains its own pictures."""

STREAM_FORMATS = (*FILE_FORMATS, "rtsp", "rtp", "sdp", "hls", "dash", "live_flv", "asf_o", "image2pipe")
"""Formats accepted from a network address: those of files, and stream descriptions of cameras and servers."""

_FILE_PROTOCOLS = ("file",)
_STREAM_PROTOCOLS = (
    "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srtp", "http", "https", "httpproxy", "udp", "srt", "tcp", "tls",
    "crypto", "data",
)
"""Protocols that a network address may lead to, also by redirection or play list; local files are excluded."""
# fmt: on

_SNIFFED = 4096  # bytes read from the start of a file to detect its kind
_TEXTS = (
    ("ffconcat version", "", "a list of files (FFmpeg's concat format)"),
    ("#EXTM3U", "", "a play list (m3u8)"),
    ("[playlist]", "", "a play list (pls)"),
    ("v=0", "\nm=", "a description of a stream (SDP)"),
    ("<", "<MPD", "a play list (DASH)"),
)
"""Texts that refer to other files: first characters, a text they must contain, name of the format."""


def open_file(path: Path, *, form: str | None = None, most: int | None = None) -> Any:
    """Open a file with PyAV, as one of :data:`FILE_FORMATS` and only with the protocol ``file``.

    Args:
        path: a file or a link to one; anything else is refused.
        form: the format; None lets FFmpeg detect it.
        most: largest number of bytes that FFmpeg reads to detect the format; None for FFmpeg's default.

    Raises:
        ClapError: the file is missing, empty, not permitted, of another format, damaged, or refers to other files.
    """
    import av

    if refused := _refused(path):
        raise ClapError(f"{path}: {refused}")
    options = {"protocol_whitelist": ",".join(_FILE_PROTOCOLS), "format_whitelist": form or ",".join(FILE_FORMATS)}
    if most is not None:
        options |= {"probesize": str(most), "formatprobesize": str(most)}
    try:
        return av.open(as_address(path), format=form, options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise ClapError(f"{path}: {_fault(path, error)}") from None


def _refused(path: Path) -> str | None:
    """The reason why a path is not opened; None if it may be opened."""
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError)) and not path.is_symlink()
        return "no such file" if missing else unreadable(error)
    if what := no_file(status.st_mode):
        return f"is {what}, not a file; give a video file"
    return None if status.st_size else "the file is empty; copy it again from its source"


def stream_options() -> dict[str, str]:
    """FFmpeg options for opening a network address."""
    return {"protocol_whitelist": ",".join(_STREAM_PROTOCOLS), "format_whitelist": ",".join(STREAM_FORMATS)}


def reason_of(error: Exception) -> str:
    """FFmpeg's description of an error."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _fault(path: Path, error: Exception) -> str:
    import av

    if isinstance(error, OSError) and error.errno in UNREADABLE:
        return unreadable(error)
    if leading := leads_elsewhere(path):
        return f"this is {leading}, which refers to other files or addresses; give those directly"
    if isinstance(error, av.ArgumentError):  # FFmpeg's error for a format that is not in the list
        return (
            "cannot be read as a video: it is damaged or in an unsupported container format; convert it to mp4 or mkv"
        )
    return f"cannot be read as a video ({reason_of(error)}); check that it plays, or copy it again from its source"


def leads_elsewhere(path: Path) -> str | None:
    """The kind of a text that refers to other files; None for any other file."""
    try:
        with path.open("rb") as handle:
            start = handle.read(_SNIFFED).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except OSError:
        return None
    return next((what for begins, holds, what in _TEXTS if start.startswith(begins) and holds in start), None)
