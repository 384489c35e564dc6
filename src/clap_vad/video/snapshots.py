"""A camera that gives one picture per request: it is polled, and the pictures that change are its stream."""

from __future__ import annotations

import hashlib
import io
import math
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..core.text.addresses import AddressParts
from ..errors import ClapError
from .http_answers import Answer, ask
from .http_login import HttpLogin
from .pictures import Shaper
from .recorder import Recorder

__all__ = ["FASTEST", "Snapshot", "SnapshotCamera", "polled_shots"]

FASTEST = 0.2
"""Least seconds between two requests, unless the operator sets fewer."""

_UNKNOWN = 1.0  # seconds between two requests if the picture did not change during the first look
_SEEN_FIRST = 3.0  # seconds of changing pictures by which the rate is measured
_LOOKED_AT = 8.0  # largest duration of the first look, seconds
_SLOW = 2.0  # seconds between two requests from which there is no first look: it would take too long
_STILL = 60.0  # seconds of the same picture after which a camera counts as frozen
_PATIENCE = 10.0  # seconds for one answer, and of failing requests after which the connection counts as lost


@dataclass(frozen=True)
class Snapshot:
    """A picture as received; ``arrived`` is a reading of :func:`time.monotonic`."""

    arrived: float
    data: bytes
    form: str

    def decoded(self) -> tuple[Any, Any] | None:
        """(PyAV's stream, its frame); None for a broken picture."""
        import av

        if self.form == "jpeg" and not self.data.rstrip(b"\r\n\0").endswith(b"\xff\xd9"):
            return None  # truncated; a decoder would fill the rest with grey
        try:
            container = av.open(io.BytesIO(self.data), "r", format=f"{self.form}_pipe")
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            return stream, next(container.decode(stream))
        except (av.FFmpegError, ValueError, IndexError, StopIteration):
            return None

    def as_jpeg(self, frame: Any) -> Snapshot:
        """The same picture as JPEG, the form used in clips."""
        import cv2

        if self.form == "jpeg":
            return self
        _, data = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"), (cv2.IMWRITE_JPEG_QUALITY, 92))
        return replace(self, data=data.tobytes(), form="jpeg")

    def packet(self) -> Any:
        """The picture as a packet for clips."""
        import av

        packet = av.Packet(self.data)
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(self.arrived * 1000)
        packet.is_keyframe = True
        return packet


class SnapshotCamera:
    """Polls an address, and detects whether it gives single pictures.

    A picture identical to the one before, byte for byte, is not passed on; the rate is that of the changes. A camera
    that gives the same picture for a minute counts as lost until it changes.

    Args:
        parts: of its address, http or https.
        every: seconds between two requests; None measures how often the picture changes, and polls twice as often,
            at most five times a second.
        stop: ends all waiting.

    Attributes:
        fps: new pictures a second, known after :meth:`connect`.
        interval: seconds between two requests.
    """

    def __init__(self, parts: AddressParts, every: float | None, stop: threading.Event) -> None:
        self._parts, self._every, self._stop = parts, every, stop
        self._login = HttpLogin(parts.login)
        self._last = b""
        self._next = -math.inf
        self._changed = -math.inf
        self._frozen = False
        self._first: list[Snapshot] = []
        self.interval = every or FASTEST
        self.fps = 1 / self.interval

    def connect(self) -> bool:
        """Request the first pictures; False if the address gives a stream, which FFmpeg reads.

        Raises:
            ClapError: no picture comes; the message gives the reason.
        """
        answer = ask(self._parts, self._login, time.monotonic() + _PATIENCE)
        if answer.kind == "stream":
            if self._every is not None:
                raise ClapError("the address gives a stream, not one picture per request; leave --poll out")
            return False
        self.interval = self._every or FASTEST
        self._next = time.monotonic() + self.interval
        first = self._new(answer)
        if first is None and self._frozen:
            raise ClapError(_FROZEN)
        self._changed, self._frozen = time.monotonic(), False
        self._first = [first] if first else []
        if self._every is None or self._every < _SLOW:
            self._look()
        self._settle()
        return True

    def __iter__(self) -> Iterator[Snapshot]:
        """New pictures, until the camera is lost.

        Raises:
            ClapError: the camera is lost; the message gives the reason.
        """
        first, self._first = self._first, []
        yield from first
        failing_since = math.inf
        while not self._stop.is_set():
            try:
                found = self._ask()
                failing_since = math.inf
            except ClapError as error:
                failing_since = min(failing_since, time.monotonic())
                if time.monotonic() - failing_since >= _PATIENCE or str(error).startswith("HTTP status 4"):
                    raise
                self._next = max(self._next, time.monotonic() + _UNKNOWN)
                continue
            if found is not None:
                self._changed = time.monotonic()
                yield found
            elif time.monotonic() - self._changed > max(_STILL, 10 * self.interval):
                self._frozen = True
                raise ClapError(_FROZEN)

    def _look(self) -> None:
        """Receive the first pictures, to measure the rate."""
        until = time.monotonic() + _LOOKED_AT
        while time.monotonic() < until and not self._stop.is_set():
            found = self._ask()
            if found is not None:
                self._changed = time.monotonic()
                self._first.append(found)
                if len(self._first) >= 4 and found.arrived - self._first[0].arrived >= _SEEN_FIRST:
                    return

    def _settle(self) -> None:
        """Set rate and interval from the first pictures; a picture that hardly changes gives none."""
        span = self._first[-1].arrived - self._first[0].arrived if len(self._first) > 1 else 0.0
        if span > 0:
            changes = span / (len(self._first) - 1)
            self.interval = self._every or max(FASTEST, changes / 2 if changes > 2 * FASTEST else FASTEST)
            self.fps = 1 / changes
        else:
            self.interval = self._every or _UNKNOWN
            self.fps = 1 / self.interval

    def _ask(self) -> Snapshot | None:
        """The next picture at its time; None if it did not change."""
        now = time.monotonic()
        if self._next > now and self._stop.wait(self._next - now):
            return None
        self._next = max(self._next, time.monotonic()) + self.interval
        return self._new(ask(self._parts, self._login, time.monotonic() + _PATIENCE))

    def _new(self, answer: Answer) -> Snapshot | None:
        if answer.kind == "stream":
            raise ClapError("the address gave single pictures before and now gives a stream")
        digest = hashlib.sha256(answer.data).digest()
        if digest == self._last:
            return None
        self._last = digest
        return Snapshot(time.monotonic(), answer.data, answer.form)


def polled_shots(
    camera: Iterable[Snapshot], shaper: Shaper, recorder: Recorder | None
) -> Iterator[tuple[float, np.ndarray]]:
    """The arrival time and the converted picture of each snapshot; pictures also go to the recorder."""
    begun = False
    for snapshot in camera:
        found = snapshot.decoded()
        if found is None:
            continue  # broken; the next one may be whole
        frame = found[1]
        if recorder is not None:
            kept = snapshot.as_jpeg(frame)
            if not begun and (template := kept.decoded()) is not None:
                recorder.connected(template[0])
                begun = True
            recorder.add(snapshot.arrived, kept.packet())
        yield snapshot.arrived, shaper.decoded(frame)


_FROZEN = "the camera gives the same picture again and again and may be frozen; restart it"
