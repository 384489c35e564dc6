"""Clips of a running stream, cut from what it sent: nothing is encoded again, and the past seconds are at hand."""

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
"""Entry of a clip's metadata: when it starts, in seconds of the stream's clock."""

_LATE = 10.0  # seconds by which the past is asked for late: an event is known when its first segments are
_RESTART = 1  # seconds backwards, and
_HOLE = 10  # seconds forward beyond the time that has passed, after which time stamps count as begun anew
_REORDERED = 10  # seconds by which a picture may be sent before it is shown
_LARGEST_PAST = 64 << 20  # bytes
_IN_MP4 = {"h264", "hevc", "mpeg4", "av1", "mjpeg"}


@dataclass
class _Clip:
    """One file that is being written."""

    until: float | None = None
    container: Any = None
    stream: Any = None
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    first: int | None = None  # stamp of the stream that stands for the clip's start
    sent: int | None = None  # stamp of the last packet, and
    seconds: float = 0.0  # when it came
    last: int = -1  # times in the clip: of the last packet, and
    latest: float = -math.inf  # of the picture that is shown last


class Recorder:
    """Keeps the last packets of a stream and writes clips of it.

    Packets are added by the thread that reads the stream, clips are begun and ended by another one.

    Args:
        past: seconds before an event to have at hand; since that is known late and a clip starts with a key frame,
            more is kept, at most 64 MB.
        failed: told a sentence when a clip cannot be written; watching goes on.
    """

    def __init__(self, past: float, failed: Callable[[str], None]) -> None:
        self._past, self._failed = past + _LATE, failed
        self._kept: deque[tuple[float, Any]] = deque()
        self._bytes = 0
        self._codec = ""
        self._template: Any = None  # a stream of a file in memory, which outlives the stream that packets come from
        self._holder: Any = None
        self._clips: dict[Path, _Clip] = {}
        self._lock = threading.Lock()

    def connected(self, stream: Any) -> None:
        """A stream starts (again); one that no file can hold is told, and not recorded."""
        import av

        with self._lock:
            self._break_off()
            self._codec = stream.codec_context.name
            holder = av.open(io.BytesIO(), "w", format="nut")
            try:
                self._template = holder.add_stream_from_template(stream)
                self._holder = holder
            except (av.FFmpegError, ValueError) as error:
                self._failed(f"{self._codec}: no clip can be made of this kind of stream ({error})")

    def add(self, seconds: float, packet: Any) -> None:
        """Take in the next packet, which arrived at this time."""
        with self._lock:
            self._kept.append((seconds, packet))
            self._bytes += packet.size
            self._forget(seconds)
            for path in list(self._clips):
                clip = self._clips[path]
                # where pictures are sent before those they look ahead of, a clip ends when all of them are there
                place = _place(clip, packet, seconds)
                whole = place is None or place.pts > clip.latest
                if clip.until is not None and seconds > clip.until and whole:
                    self._finish(path)
                else:
                    self._guarded(path, clip, partial(_write, clip, packet, seconds))

    def lost(self) -> None:
        """The stream broke off: what is being written ends here."""
        with self._lock:
            self._break_off()

    def begin(self, folder: Path, name: str, since: float, named: float = 0.0) -> Path | None:
        """Start ``folder/name.mp4`` (``.mkv`` where MP4 does not hold it) with the key frame before ``since``.

        Args:
            folder, name: of the file.
            since: time on the clock of :meth:`add`.
            named: seconds from that clock to the one by which the clip says when it starts.

        Returns:
            The file, there as soon as the clip has ended; None where nothing can be recorded, which is told why.
        """
        with self._lock:
            if self._template is None:
                self._failed(f"{name}: no clip of this event, no stream is there that a clip can be made of")
                return None
            path = folder / f"{name}{'.mp4' if self._codec in _IN_MP4 else '.mkv'}"
            keys = [at for at, (_, packet) in enumerate(self._kept) if packet.is_keyframe]
            if not keys:
                self._failed(
                    f"{name}: no clip of this event, its last key frame lies more than {_LARGEST_PAST >> 20} MB back; "
                    "let the camera send key frames more often"
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
        """Let a clip go on until this time, then finish it."""
        with self._lock:
            if path in self._clips:
                self._clips[path].until = until

    def close(self) -> None:
        """Finish whatever is being written."""
        self.lost()

    def _break_off(self) -> None:
        for path in list(self._clips):
            self._finish(path)
        self._template = self._holder = None
        self._kept.clear()
        self._bytes = 0

    def _forget(self, now: float) -> None:
        """Drop what no clip can need: all before the last key frame that is old enough."""
        while len(self._kept) > 1:
            start = next(
                (at for at, (when, packet) in enumerate(self._kept) if at and packet.is_keyframe), len(self._kept)
            )
            reaches = start < len(self._kept) and self._kept[start][0] <= now - self._past
            if not reaches and self._bytes <= _LARGEST_PAST:
                return
            for _ in range(start):  # all of it: what follows a key frame that is gone shows nothing
                self._bytes -= self._kept.popleft()[1].size

    def _guarded(self, path: Path, clip: _Clip, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a disk that is full, packets that do not go into the container
            del self._clips[path]
            with contextlib.suppress(Exception):
                clip.container.close()
            with contextlib.suppress(Exception):  # removes the file, and says again what went wrong
                clip.files.__exit__(type(error), error, None)
            self._failed(f"{path}: this clip cannot be written ({error})")

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
    """Where a packet comes in a clip: its times in the clip, and the stamp of the stream that they are counted from."""

    first: int
    dts: int
    pts: int


def _place(clip: _Clip, packet: Any, seconds: float) -> _Place | None:
    """The place of a packet that came at this time; None for one without any stamp.

    One false stamp, joined recordings, a clock that was set: the clip goes on where it was.
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
    """Add a packet that came at this time; the packet itself stays as it is."""
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
