"""Which container formats FFmpeg may take a source for, and by which protocols it may fetch one: a list for each.

FFmpeg tells a format by what stands in a file, not by its name. Some of its formats are lists of other files (concat,
m3u8, DASH), descriptions of streams (SDP), patterns of names (``image2``) or other texts: a text called ``gate.mp4``
would be read as the video beside it, or from an address in it. So a file is taken for one of the formats below, which
hold their pictures themselves, or not at all; and a stream may never lead to a file of this machine.
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
    # moving and single pictures; each of them reads nothing but the file given
    "gif", "apng", "jpeg_pipe", "png_pipe", "bmp_pipe", "tiff_pipe", "webp_pipe",
    # sound: there is no picture in it, and this is what is then said
    "wav", "mp3", "aac", "ac3", "eac3", "flac", "aiff", "au", "amr", "caf",
)
"""FFmpeg's names of the formats that a file may be in; every one holds its pictures itself."""

STREAM_FORMATS = (*FILE_FORMATS, "rtsp", "rtp", "sdp", "hls", "dash", "live_flv", "asf_o", "image2pipe")
"""Of what comes from an address: those of files, and those in which cameras and servers tell where their stream is."""

_FILE_PROTOCOLS = ("file",)
_STREAM_PROTOCOLS = (
    "rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srtp", "http", "https", "httpproxy", "udp", "srt", "tcp", "tls",
    "crypto", "data",
)
"""What an address on a network may lead to, by redirection or play list too; no file of this machine is among them."""
# fmt: on

_SNIFFED = 4096  # bytes at the start of a file that are looked at to say what it is
_TEXTS = (
    ("ffconcat version", "", "a list of files (FFmpeg's concat format)"),
    ("#EXTM3U", "", "a play list (m3u8)"),
    ("[playlist]", "", "a play list (pls)"),
    ("v=0", "\nm=", "a description of a stream (SDP)"),
    ("<", "<MPD", "a play list (DASH)"),
)
"""How a text begins that leads elsewhere, what else stands in it, and what it is."""


def open_file(path: Path, *, form: str | None = None, most: int | None = None) -> Any:
    """The file opened by PyAV, as one of :data:`FILE_FORMATS` and by no protocol but ``file``.

    Args:
        path: a file; what is neither a file nor a link to one is not opened.
        form: the one format that it is opened as; None for what FFmpeg takes it for.
        most: bytes that FFmpeg may look at to find out; None for its own bound.

    Raises:
        ClapError: it is missing, empty, may not be read, in no such format, damaged, or leads to other files; the
            sentence says which.
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
    """Why a path is not opened at all."""
    try:
        status = path.stat()
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError)) and not path.is_symlink()
        return "no such file" if missing else unreadable(error)
    if what := no_file(status.st_mode):
        return f"is {what}, no file; give a video file"
    return None if status.st_size else "the file is empty; fetch it again"


def stream_options() -> dict[str, str]:
    """What FFmpeg is told when it opens an address on a network."""
    return {"protocol_whitelist": ",".join(_STREAM_PROTOCOLS), "format_whitelist": ",".join(STREAM_FORMATS)}


def reason_of(error: Exception) -> str:
    """What FFmpeg says of a failure."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _fault(path: Path, error: Exception) -> str:
    import av

    if isinstance(error, OSError) and error.errno in UNREADABLE:
        return unreadable(error)
    if leading := leads_elsewhere(path):
        return f"this is {leading}, which names other files or addresses and holds no picture; give those themselves"
    if isinstance(error, av.ArgumentError):  # so FFmpeg refuses what it takes for another format
        return (
            "cannot be read as a video: it is damaged, or in a container format that is not read here; convert it to "
            "mp4 or mkv"
        )
    return f"cannot be read as a video ({reason_of(error)}); play it, or fetch it again from where it was made"


def leads_elsewhere(path: Path) -> str | None:
    """What a text is that names other files, None for any other file."""
    try:
        with path.open("rb") as handle:
            start = handle.read(_SNIFFED).decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    except OSError:
        return None
    return next((what for begins, holds, what in _TEXTS if start.startswith(begins) and holds in start), None)
