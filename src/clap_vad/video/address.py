"""Where live pictures come from: addresses of streams, cameras of this machine, files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..core.logins import without_login
from ..errors import ClapError
from .containers import stream_options
from .names import as_address

__all__ = ["Address"]

_STREAMS = "rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "rtp", "srt", "tcp"
_CAMERA = re.compile(r"camera:([0-9]+)|/dev/video([0-9]+)")


@dataclass(frozen=True)
class Address:
    """A source of live pictures.

    Attributes:
        text: as FFmpeg takes it, with a login where there is one: never to be shown.
        shown: the same without login.
        live: whether it goes on by itself, so that what is not taken in time is lost.
        device: FFmpeg's name for the kind of device; None for none.
        path: the file or folder it is, else None.
    """

    text: str
    shown: str
    live: bool
    device: str | None = None
    path: Path | None = None

    @classmethod
    def of(cls, source: str) -> Address:
        """The address that a user wrote: ``rtsp://...``, ``camera:0``, ``/dev/video0``, or a path.

        Raises:
            ClapError: neither a known kind of address nor a file.

        >>> Address.of("rtsp://me:secret@cam.lan/1?token=7").shown
        'rtsp://cam.lan/1?token=...'
        """
        if camera := _CAMERA.fullmatch(source):
            device = f"/dev/video{camera[1] or camera[2]}"
            return cls(device, device, True, "v4l2")
        scheme = source.partition("://")[0].lower() if "://" in source else ""
        if scheme in _STREAMS:
            return cls(source, without_login(source), True)
        path = Path(source)
        if scheme or not source or not path.exists():
            kinds = ", ".join(f"{name}://" for name in _STREAMS[:6])
            raise ClapError(
                f"{without_login(source)}: no such file, and no address of a stream; give a file, "
                f"camera:0, or one of {kinds}..."
            )
        return cls(as_address(path), source, False, path=path)

    def options(self, patience: float) -> dict[str, str]:
        """What FFmpeg is told when it opens this, so that a dead connection is noticed within ``patience`` seconds."""
        if self.device is not None:
            return {}
        options = stream_options()
        microseconds = str(round(patience * 1e6))
        if self.text.lower().startswith("rtsp"):
            return {**options, "rtsp_transport": "tcp", "timeout": microseconds}
        return {**options, "rw_timeout": microseconds}
