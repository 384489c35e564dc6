"""Writing an ``.mp4`` file: H.264, playable while it loads, written atomically."""

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

_TICKS = 90_000  # clock ticks per second for a variable frame rate, as in MPEG
_FINEST = 100_000  # largest denominator of a frame rate: 29.97002997 becomes 30000/1001


class VideoWriter:
    """Writes pictures one by one. The file appears when the writer is closed; after an error there is no file.

    It encodes with one thread, so equal pictures give equal bytes. Memory does not depend on the video's length.

    Args:
        path: the file.
        rate: frames per second; with ``timed``, it sets how long the last picture is shown.
        timed: every picture has its own time (variable frame rate).

    Raises:
        ClapError: the rate is not a positive number.
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
            raise ClapError(f"{path}: the rate is {rate} pictures per second; give a positive number")
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
            picture: (height, width, 3) uint8 RGB, all of the same size. An odd size is padded to an even one by
                repeating the last row or column, as H.264 requires.
            seconds: time of the picture if ``timed``. If it is not later than the previous one, the picture is shown
                directly after it.
        """
        with self._whole_or_absent():
            if self._container is None:
                self._open(picture)
            self._encode(picture, seconds)

    def close(self) -> None:
        """Finish the file. Without any picture, no file is written."""
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
        # reordered pictures at uneven times would give the file a wrong length
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
        """Remove the unfinished file; put the file's name into a system error."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(Exception):  # closing writes a trailer, which also fails on a full disk
                container.close()
        self._opened.__exit__(kind, error, trace)


def write_video(
    path: Path, pictures: Iterable[np.ndarray], rate: Fraction | float, times: Iterable[float] | None = None
) -> None:
    """Write all pictures, (height, width, 3) uint8 RGB, to a file atomically.

    Args:
        path: the file.
        pictures: see :meth:`VideoWriter.add`.
        rate: frames per second.
        times: time of each picture in seconds, for a variable frame rate.

    Raises:
        ClapError: there is no picture, or the rate is not a positive number.
        OSError: the file cannot be written.
    """
    stamps = None if times is None else iter(times)
    empty = True
    with VideoWriter(path, rate, timed=stamps is not None) as writer:
        for picture in pictures:
            writer.add(picture, None if stamps is None else next(stamps))
            empty = False
    if empty:
        raise ClapError(f"{path}: no picture to write; give at least one")
