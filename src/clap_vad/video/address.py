"""Sources of live video: stream addresses, local cameras, files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from ..core.text.addresses import SCHEMES, AddressParts, looks_like_address, split_address
from ..core.text.logins import shown_parts
from ..errors import ClapError
from .containers import stream_options
from .names import as_address

__all__ = ["Address"]

_CAMERA = re.compile(r"camera:([0-9]+)|/dev/video([0-9]+)")
_LIKE_PATH = re.compile(r"[^@:=&\x00-\x1f]+")  # safe to repeat in an error message: contains no login


@dataclass(frozen=True)
class Address:
    """A source of live video.

    Attributes:
        text: the address for FFmpeg. May contain a login, so never print it.
        shown: the printable form, see :func:`~clap_vad.core.text.logins.shown_address`.
        live: True if frames that are not read in time are lost.
        device: FFmpeg's name for the kind of device; None if it is not a device.
        path: the file or folder; None for other sources.
        parts: the parts of a network address; None for other sources.
    """

    text: str = field(repr=False)
    shown: str
    live: bool
    device: str | None = None
    path: Path | None = None
    parts: AddressParts | None = field(default=None, repr=False)

    @classmethod
    def of(cls, source: str) -> Address:
        """Parse an address: ``rtsp://...``, ``camera:0``, ``/dev/video0``, or a path.

        Raises:
            ClapError: neither a supported address nor a file, or an ambiguous address. The message contains no login.

        >>> Address.of("rtsp://me:secret@cam.lan/1?token=7").shown
        'rtsp://cam.lan/1?...'
        """
        if camera := _CAMERA.fullmatch(source.strip()):
            device = f"/dev/video{camera[1] or camera[2]}"
            return cls(device, device, True, "v4l2")
        path = Path(source)
        if "://" not in source and source and _exists(path):
            return cls(as_address(path), source, False, path=path)
        if looks_like_address(source):
            parts = split_address(source)
            if parts.scheme in SCHEMES:
                return cls(parts.joined(), shown_parts(parts), True, parts=parts)
        place = f"{source}: " if _LIKE_PATH.fullmatch(source) else ""
        kinds = ", ".join(f"{name}://" for name in SCHEMES[:6])
        raise ClapError(f"{place}no such file and not a stream address; give a file, camera:0, or one of {kinds}...")

    @property
    def may_serve_snapshots(self) -> bool:
        """Whether it may be a snapshot address (HTTP), which returns one picture per request."""
        return self.parts is not None and self.parts.scheme in ("http", "https")

    def options(self, patience: float) -> dict[str, str]:
        """FFmpeg options for opening it; a dead connection is noticed within ``patience`` seconds."""
        if self.device is not None:
            return {}
        options = stream_options()
        microseconds = str(round(patience * 1e6))
        if self.text.startswith("rtsp"):
            return {**options, "rtsp_transport": "tcp", "timeout": microseconds}
        return {**options, "rw_timeout": microseconds}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long or contains NUL
        return False
