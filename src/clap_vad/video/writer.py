"""Pictures to a real ``.mp4`` file: H.264, playable while it loads, whole or absent."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import ClapError
from ..persistence import atomic_path
from .names import as_address

__all__ = ["VideoWriter", "write_video"]

_TICKS = 90_000  # a second, of pictures with times of their own: the clock of MPEG
_FINEST = 100_000  # largest denominator of a rate: 29.97002997 is recognised as 30000/1001


class VideoWriter:
    """Takes pictures one by one; the file appears when it is closed, and not at all after an error.

    One encoding thread, so that the same pictures give the same bytes. Nothing is held but what the encoder looks
    ahead, so a long video needs no more memory than a short one.

    Args:
        path: the file.
        rate: pictures a second. Where pictures have times of their own, it says how long the last one is shown.
        timed: every picture comes with its time (variable frame rate).

    Raises:
        ClapError: the rate is no positive number.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "grey.mp4"
    >>> with VideoWriter(target, 29.97) as writer:
    ...     for level in range(3):
    ...         writer.add(np.full((48, 63, 3), level, np.uint8))
    >>> target.exists()
    True
    """

    def __init__(self, path: Path, rate: Fraction | float, *, timed: bool = False) -> None:
        if not (math.isfinite(rate) and rate > 0):
            raise ClapError(f"{path}: {rate} pictures a second; a positive number is needed")
        self.path = path
        self.rate = max(Fraction(rate).limit_denominator(_FINEST), Fraction(1, _FINEST))
        self._timed = timed
        self._opened = contextlib.ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._last = -1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._abandon(kind, error, trace)

    def add(self, picture: np.ndarray, seconds: float | None = None) -> None:
        """Encode one picture.

        Args:
            picture: (height, width, 3) uint8 RGB, all of one size; odd sizes are padded to even ones by repeating the
                last row or column, as H.264 halves its colours.
            seconds: when it is shown, where pictures have times of their own; one that is not later than the one
                before is shown right after it.
        """
        with self._whole_or_absent():
            if self._container is None:
                self._open(picture)
            self._encode(picture, seconds)

    def close(self) -> None:
        """Finish the file; a writer that was given no picture leaves none."""
        if self._container is None:
            return
        with self._whole_or_absent():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._container = None
            self._opened.close()

    def _open(self, picture: np.ndarray) -> None:
        import av

        temporary = self._opened.enter_context(atomic_path(self.path))
        self._container = av.open(as_address(temporary), "w", format="mp4", options={"movflags": "+faststart"})
        # reordered pictures at uneven times would cost the file its true length
        options = {"preset": "superfast", "crf": "23", **({"bf": "0"} if self._timed else {})}
        self._stream = self._container.add_stream("libx264", rate=self.rate, options=options)
        self._shape = picture.shape
        height, width = picture.shape[:2]
        self._stream.width, self._stream.height, self._stream.pix_fmt = (
            width + width % 2,
            height + height % 2,
            "yuv420p",
        )
        self._stream.codec_context.thread_count = 1
        if self._timed:
            self._stream.codec_context.time_base = Fraction(1, _TICKS)

    def _encode(self, picture: np.ndarray, seconds: float | None) -> None:
        import av

        if picture.shape != self._shape or picture.ndim != 3:
            raise ValueError(f"a picture of shape {picture.shape} in a video of {self._shape}")
        if (seconds is None) is self._timed:
            raise ValueError("times are given for all pictures or for none")
        height, width = picture.shape[:2]
        if height % 2 or width % 2:
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        step = Fraction(1, _TICKS) if self._timed else 1 / self.rate
        ticks = self._last + 1 if seconds is None else max(round(seconds * _TICKS), self._last + 1)
        frame.pts, frame.time_base = ticks, step
        if self._timed:
            frame.duration = max(1, round(_TICKS / self.rate))
        self._last = ticks
        self._container.mux(self._stream.encode(frame))

    @contextlib.contextmanager
    def _whole_or_absent(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._abandon(*sys.exc_info())
            raise

    def _abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was written; an error of the system is raised under the name of the file."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(Exception):  # closing writes an ending, for which a full disk has no room either
                container.close()
        self._opened.__exit__(kind, error, trace)


def write_video(
    path: Path, pictures: Iterable[np.ndarray], rate: Fraction | float, times: Iterable[float] | None = None
) -> None:
    """Write all pictures, (height, width, 3) uint8 RGB, to a file; it is whole or absent.

    Args:
        path: the file.
        pictures: see :meth:`VideoWriter.add`.
        rate: pictures a second.
        times: seconds of each picture, where they are not evenly apart.

    Raises:
        ClapError: not one picture, or a rate that is no positive number.
        OSError: the file cannot be written.
    """
    stamps = None if times is None else iter(times)
    empty = True
    with VideoWriter(path, rate, timed=stamps is not None) as writer:
        for picture in pictures:
            writer.add(picture, None if stamps is None else next(stamps))
            empty = False
    if empty:
        raise ClapError(f"{path}: there is no picture to write; give at least one")
