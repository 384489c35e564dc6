"""Clips of a running stream, written from its own packets without re-encoding; recent packets are buffered."""

from __future__ import annotations

import contextlib
import io
import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..persistence import atomic_path
from .names import as_address
from .packets import copied

__all__ = ["START", "Recorder"]

START = "comment"
"""Key of a clip's metadata: its start in seconds of the stream's clock."""

_LATE = 10.0  # seconds; an event is detected only after its first segments
_RESTART = 1  # seconds backwards, or
_HOLE = 10  # seconds forward beyond the elapsed time: larger steps mean that the time stamps restarted
_REORDERED = 10  # longest time in seconds from sending a picture to showing it
_LARGEST_PAST = 64 << 20  # bytes
_IN_MP4 = {"h264", "hevc", "mpeg4", "av1", "mjpeg"}


@dataclass
class _Clip:
    """One file that is being written."""

    until: float | None = None
    container: Any = None
    stream: Any = None
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    first: int | None = None  # time stamp of the stream at the clip's start
    sent: int | None = None  # time stamp of the last packet, and
    seconds: float = 0.0  # its arrival time
    last: int = -1  # time in the clip of the last packet, and
    latest: float = -math.inf  # of the picture shown last


class Recorder:
    """Buffers the last packets of a stream and writes clips.

    One thread reads the stream and adds packets; another begins and ends clips.

    Args:
        past: seconds before an event to include. More is buffered (at most 64 MB), as events are detected late and
            clips start with a key frame.
        failed: called with a sentence when a clip cannot be written; monitoring continues.
    """

    def __init__(self, past: float, failed: Callable[[str], None]) -> None:
        self._past, self._failed = past + _LATE, failed
        self._kept: deque[tuple[float, Any]] = deque()
        self._bytes = 0
        self._codec = ""
        self._template: Any = None  # stream of a file in memory, which outlives the connection
        self._holder: Any = None
        self._clips: dict[Path, _Clip] = {}
        self._lock = threading.Lock()

    def connected(self, stream: Any) -> None:
        """A stream starts or restarts. A codec that no container supports is reported and not recorded."""
        import av

        with self._lock:
            self._break_off()
            self._codec = stream.codec_context.name
            holder = av.open(io.BytesIO(), "w", format="nut")
            try:
                self._template = holder.add_stream_from_template(stream)
                self._holder = holder
            except (av.FFmpegError, ValueError) as error:
                self._failed(f"{self._codec}: clips of this kind of stream are not possible ({error})")

    def add(self, seconds: float, packet: Any) -> None:
        """Add the next packet, which arrived at ``seconds``."""
        with self._lock:
            self._kept.append((seconds, packet))
            self._bytes += packet.size
            self._forget(seconds)
            for path in list(self._clips):
                clip = self._clips[path]
                # with reordered pictures a clip ends only after all of them have arrived
                place = _place(clip, packet, seconds)
                whole = place is None or place.pts > clip.latest
                if clip.until is not None and seconds > clip.until and whole:
                    self._finish(path)
                else:
                    self._guarded(path, clip, partial(_write, clip, packet, seconds))

    def lost(self) -> None:
        """The connection is lost: end the current clips."""
        with self._lock:
            self._break_off()

    def begin(self, folder: Path, name: str, since: float, named: float = 0.0) -> Path | None:
        """Start ``folder/name.mp4`` (``.mkv`` if MP4 does not support the codec) at the key frame before ``since``.

        Args:
            folder, name: of the file.
            since: time on the clock of :meth:`add`, in seconds.
            named: seconds to add to that clock for the start time in the clip's metadata.

        Returns:
            The file, which appears when the clip ends; None if nothing can be recorded (``failed`` gets the reason).
        """
        with self._lock:
            if self._template is None:
                self._failed(f"{name}: no clip of this event, no recordable stream is connected")
                return None
            path = folder / f"{name}{'.mp4' if self._codec in _IN_MP4 else '.mkv'}"
            keys = [at for at, (_, packet) in enumerate(self._kept) if packet.is_keyframe]
            if not keys:
                self._failed(
                    f"{name}: no clip of this event, the last key frame is more than {_LARGEST_PAST >> 20} MB ago; "
                    "set a shorter key frame interval on the camera"
                )
                return None
            before = [at for at in keys if self._kept[at][0] <= since]
            packets = list(self._kept)[before[-1] if before else keys[0] :]
            clip = self._clips[path] = _Clip()

            def write() -> None:
                _open(clip, path, self._template, packets[0][0] + named)
                for seconds, packet in packets:
                    _write(clip, packet, seconds)

            self._guarded(path, clip, write)
            return path if path in self._clips else None

    def end(self, path: Path, until: float) -> None:
        """Continue a clip until this time, then finish it."""
        with self._lock:
            if path in self._clips:
                self._clips[path].until = until

    def close(self) -> None:
        """Finish all clips."""
        self.lost()

    def _break_off(self) -> None:
        for path in list(self._clips):
            self._finish(path)
        self._template = self._holder = None
        self._kept.clear()
        self._bytes = 0

    def _forget(self, now: float) -> None:
        """Drop the packets that no clip can need: all before the last key frame that is old enough."""
        while len(self._kept) > 1:
            start = next(
                (at for at, (when, packet) in enumerate(self._kept) if at and packet.is_keyframe), len(self._kept)
            )
            reaches = start < len(self._kept) and self._kept[start][0] <= now - self._past
            if not reaches and self._bytes <= _LARGEST_PAST:
                return
            for _ in range(start):  # the whole group: packets without their key frame cannot be decoded
                self._bytes -= self._kept.popleft()[1].size

    def _guarded(self, path: Path, clip: _Clip, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # e.g. a full disk, packets that do not fit the container
            del self._clips[path]
            with contextlib.suppress(Exception):
                clip.container.close()
            with contextlib.suppress(Exception):  # removes the file and raises the same error again
                clip.files.__exit__(type(error), error, None)
            self._failed(f"{path}: cannot write this clip ({error})")

    def _finish(self, path: Path) -> None:
        clip = self._clips[path]

        def close() -> None:
            clip.container.close()
            clip.files.close()

        self._guarded(path, clip, close)
        self._clips.pop(path, None)


def _open(clip: _Clip, path: Path, template: Any, start: float) -> None:
    import av

    temporary = clip.files.enter_context(atomic_path(path))
    form, options = ("mp4", {"movflags": "+faststart"}) if path.suffix == ".mp4" else ("matroska", {})
    clip.container = av.open(as_address(temporary), "w", format=form, options=options)
    clip.container.metadata[START] = f"{start:.3f}"
    clip.stream = clip.container.add_stream_from_template(template)


@dataclass(frozen=True)
class _Place:
    """Times of a packet in a clip, and the time stamp of the stream from which they are counted."""

    first: int
    dts: int
    pts: int


def _place(clip: _Clip, packet: Any, seconds: float) -> _Place | None:
    """The times in the clip of a packet that arrived at ``seconds``; None if it has no time stamp.

    After a false time stamp, joined recordings or a clock change, the clip continues without a gap.
    """
    own = packet.dts if packet.dts is not None else packet.pts
    if own is None:
        return None
    shown = packet.pts if packet.pts is not None else own
    if not 0 <= (shown - own) * packet.time_base <= _REORDERED:
        shown = own
    first = own if clip.first is None else clip.first
    if clip.sent is not None and not (
        -_RESTART <= (own - clip.sent) * packet.time_base <= seconds - clip.seconds + _HOLE
    ):
        first = own - clip.last - (packet.duration or 1)
    dts = max(own - first, clip.last + 1)  # smaller steps back would end the clip
    return _Place(first, dts, max(shown - first, dts))


def _write(clip: _Clip, packet: Any, seconds: float) -> None:
    """Write a packet that arrived at ``seconds``; the packet is not changed."""
    place = _place(clip, packet, seconds)
    if place is None:
        return
    copy = copied(packet)
    clip.first, clip.seconds = place.first, seconds
    clip.sent = packet.dts if packet.dts is not None else packet.pts
    clip.last, clip.latest = place.dts, max(clip.latest, place.pts)
    copy.dts, copy.pts = place.dts, place.pts
    copy.stream = clip.stream
    clip.container.mux(copy)
