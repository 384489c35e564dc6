"""A camera as data: what is monitored, and how its pictures are requested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.text.logins import shown_address
from ..errors import ClapError, unprintable
from ..video.address import Address

__all__ = ["Camera", "Clock"]

Clock = Literal["wall", "file"]
"""Whether times are Unix seconds or seconds from a file's start."""


@dataclass(frozen=True)
class Camera:
    """A camera, a stream or a file that is monitored.

    Attributes:
        name: printable, without a login.
        address: of its pictures; it may hold a login, ``shown`` never does.
        poll: seconds between two requests to a camera that gives one picture per request; None: chosen automatically.
        rate: pictures a second to take; None takes all.
        track: the video track to take, from 1; None takes the one with the most pictures.

    Raises:
        ClapError: a value out of range, or not valid for this kind of address.
    """

    name: str
    address: Address
    poll: float | None = None
    rate: float | None = None
    track: int | None = None

    def __post_init__(self) -> None:
        if unprintable(self.name):
            raise ClapError(f"--camera: {self.name!r} cannot name a camera; give it a name of printable characters")
        if self.poll is not None and not 0.01 <= self.poll <= 3600:
            raise ClapError(f"--poll: {self.poll}; a number of seconds from 0.01 to 3600 is needed")
        if self.poll is not None and not self.address.may_serve_snapshots:
            raise ClapError(
                "--poll is for cameras that give one picture per request, at http:// or https://; leave it out"
            )

    @classmethod
    def of(cls, source: str, name: str | None = None, poll: float | None = None) -> Camera:
        """The camera at an address, as a user writes it.

        Args:
            source: see :meth:`~clap_vad.video.address.Address.of`.
            name: by default the name of the file, or the address without a login.
            poll: see the class.

        >>> camera = Camera.of("rtsp://me:secret@cam.lan/1")
        >>> camera.name, camera.shown, camera.clock
        ('rtsp://cam.lan/1', 'rtsp://cam.lan/1', 'wall')
        """
        address = Address.of(source)
        known = address.path.stem if address.path else address.shown
        return cls(shown_address(name) if name else known, address, poll)

    @property
    def shown(self) -> str:
        """Its address without a login."""
        return self.address.shown

    @property
    def clock(self) -> Clock:
        """The meaning of its events' times."""
        return "wall" if self.address.live else "file"
