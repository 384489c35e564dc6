"""What a reader of live pictures hands over: pictures, and what happens to the connection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Connected", "Dropped", "Ended", "Item", "Lost", "Noted", "Shot"]


@dataclass(frozen=True)
class Connected:
    """Pictures are coming, ``fps`` a second; ``seconds`` is when the first one was taken, as for :class:`Shot`."""

    seconds: float
    fps: float


@dataclass(frozen=True)
class Shot:
    """A picture: when it was taken, and when it was at hand here.

    ``seconds`` are those of :func:`time.monotonic`, so that setting the machine's clock changes no length; of a file,
    seconds since its start. ``arrived`` is always a reading of :func:`time.monotonic`.
    """

    seconds: float
    arrived: float
    picture: np.ndarray


@dataclass(frozen=True)
class Dropped:
    """So many pictures were dropped here, since they came faster than they were taken off."""

    count: int


@dataclass(frozen=True)
class Noted:
    """Something about the stream that its operator should know."""

    sentence: str


@dataclass(frozen=True)
class Lost:
    """The connection is gone or could not be made; it will be tried again."""

    seconds: float
    reason: str
    again_in: float


@dataclass(frozen=True)
class Ended:
    """A file has been read to its end; ``remark`` says what of it was missing."""

    remark: str | None


Item = Connected | Shot | Dropped | Noted | Lost | Ended
