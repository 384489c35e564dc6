"""Detection of a file's kind from its first bytes, for names without a known extension."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from ..errors import ClapError
from .containers import leads_elsewhere, open_file

__all__ = ["Content", "content_of"]

_READ = 4096
_PROBED = 1 << 20  # bytes that FFmpeg reads to recognise a file without a known signature
_PACKETS = 200


class Content(Enum):
    """Kinds of files; the value is the description that users see."""

    VIDEO = "a recording"
    EMPTY = "an empty file"
    TEXT = "a text"
    SOUND = "sound without a picture"
    PICTURE = "a single picture"
    PROGRAM = "a program"
    DOCUMENT = "a document or database"
    ARCHIVE = "an archive, which may contain recordings; unpack it"
    UNKNOWN = (
        "in an unsupported format; if it is a recording, convert it to mp4 or mkv, otherwise move it out of the folder"
    )


# fmt: off
_SIGNATURES: tuple[tuple[int, bytes, Content], ...] = (
    (0, b"\x1a\x45\xdf\xa3", Content.VIDEO),  # Matroska, WebM
    (0, b"FLV\x01", Content.VIDEO), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Content.VIDEO),  # ASF, WMV
    (0, b"\x00\x00\x01\xba", Content.VIDEO), (0, b"\x00\x00\x01\xb3", Content.VIDEO),  # MPEG program and raw streams
    (0, b"IMKH", Content.VIDEO), (0, b"DHAV", Content.VIDEO), (0, b"DAHUA", Content.VIDEO),  # Hikvision, Dahua
    (0, b"YUV4MPEG2", Content.VIDEO), (0, b"DKIF", Content.VIDEO), (0, b"nut/multimedia", Content.VIDEO),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", Content.VIDEO), (0, b".RMF", Content.VIDEO),  # MXF, RealMedia
    (0, b"GIF87a", Content.VIDEO), (0, b"GIF89a", Content.VIDEO),
    (0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e", Content.VIDEO),  # Windows Media Center (WTV)
    (0, b"\x1f\x07\x00", Content.VIDEO),  # DV
    (0, b"ID3", Content.SOUND), (0, b"fLaC", Content.SOUND), (0, b"#!AMR", Content.SOUND),
    (0, b"\x89PNG", Content.PICTURE), (0, b"BM", Content.PICTURE), (0, b"II*\x00", Content.PICTURE),
    (0, b"MM\x00*", Content.PICTURE), (0, b"8BPS", Content.PICTURE), (0, b"\x00\x00\x01\x00", Content.PICTURE),
    (0, b"MZ", Content.PROGRAM), (0, b"\x7fELF", Content.PROGRAM), (0, b"\xca\xfe\xba\xbe", Content.PROGRAM),
    (0, b"\xcf\xfa\xed\xfe", Content.PROGRAM),
    (0, b"%PDF", Content.DOCUMENT), (0, b"SQLite format 3\x00", Content.DOCUMENT), (0, b"\x93NUMPY", Content.DOCUMENT),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Content.DOCUMENT), (0, b"\x89HDF", Content.DOCUMENT),
    (0, b"PK\x03\x04", Content.ARCHIVE), (0, b"PK\x05\x06", Content.ARCHIVE), (0, b"Rar!", Content.ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", Content.ARCHIVE), (0, b"\x1f\x8b\x08", Content.ARCHIVE),
    (0, b"BZh", Content.ARCHIVE), (0, b"\xfd7zXZ", Content.ARCHIVE), (0, b"\x28\xb5\x2f\xfd", Content.ARCHIVE),
    (257, b"ustar", Content.ARCHIVE),
)
"""Offset of a signature, the signature, and the kind of file it marks."""
_RIFF = {b"AVI ": Content.VIDEO, b"WAVE": Content.SOUND, b"WEBP": Content.PICTURE}
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot", b"styp", b"moof", b"uuid", b"sidx"}
"""Box names of MP4 and QuickTime; the first box name follows the length at the start of the file."""
_BRANDS = {
    b"heic": Content.PICTURE, b"heix": Content.PICTURE, b"mif1": Content.PICTURE, b"avif": Content.PICTURE,
    b"M4A ": Content.SOUND, b"M4B ": Content.SOUND, b"crx ": Content.PICTURE,
}
_FIRST_UNITS = {0x67, 0x27, 0x47, 0x09, 0x06, 0x40, 0x42, 0x44, 0x46}
"""First bytes of a raw H.264 or H.265 stream after the start code."""
_TEXT_BYTES = frozenset(range(0x20, 0x100)) | set(b"\t\n\r\f\x1b")
# fmt: on


def content_of(path: Path) -> Content:
    """The kind of a file whose name has no known extension.

    Most kinds have a signature in the first bytes. A file without one is opened as a video, and counts as one only if a
    picture can be decoded: FFmpeg sometimes takes arbitrary bytes for sound or raw video.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as handle:
        start = handle.read(_READ)
    if not start:
        return Content.EMPTY
    if known := _signed(start):
        return known
    if start.startswith(b"\xff\xd8\xff"):  # a single picture or Motion JPEG
        return Content.VIDEO if _decodes(path, "mjpeg", 2) else Content.PICTURE
    if leads_elsewhere(path) or _is_text(start):
        return Content.TEXT
    return Content.VIDEO if _decodes(path, None, 1) else Content.UNKNOWN


def _signed(start: bytes) -> Content | None:
    for at, signature, content in _SIGNATURES:
        if start.startswith(signature, at):
            return content
    if start[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _RIFF.get(start[8:12])
    if start[4:8] in _BOXES:
        return _BRANDS.get(start[8:12], Content.VIDEO) if start[4:8] == b"ftyp" else Content.VIDEO
    if start.startswith(b"OggS"):
        return Content.VIDEO if b"theora" in start or b"fishead" in start else Content.SOUND
    code = start.find(b"\x00\x00\x01")
    if code in (0, 1) and len(start) > code + 3 and start[code + 3] in _FIRST_UNITS and not any(start[:code]):
        return Content.VIDEO
    return Content.VIDEO if _is_transport_stream(start) else None


def _is_transport_stream(start: bytes) -> bool:
    """Whether every packet starts with the sync byte: plain, with leading time stamp (m2ts), or with check sum."""
    return any(
        len(syncs := start[offset::size]) >= 4 and set(syncs) == {0x47}
        for size, offset in ((188, 0), (192, 4), (204, 0))
    )


def _is_text(start: bytes) -> bool:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "\x00" not in start[: len(start) // 2 * 2].decode("utf-16", "replace")
    return set(start) <= _TEXT_BYTES


def _decodes(path: Path, form: str | None, pictures: int) -> bool:
    """Whether FFmpeg finds a video stream of known size and decodes ``pictures`` pictures of it."""
    import av

    try:
        with open_file(path, form=form, most=_PROBED) as container:
            streams = [stream for stream in container.streams.video if stream.codec_context is not None]
            if not streams or not streams[0].width:
                return False
            found = 0
            for number, packet in enumerate(container.demux(streams[0])):
                found += sum(not frame.is_corrupt for frame in packet.decode())
                if found >= pictures or number >= _PACKETS:
                    break
            return found >= pictures
    except (ClapError, av.FFmpegError, ValueError):
        return False
