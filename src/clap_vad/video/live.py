"""Pictures as they are taken: a thread reads a camera, a stream or a file and finds its way back when it is lost.

What the reader cannot hand over in time is dropped, for a live source: latency and memory are bounded, whatever the
machine. A file waits.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events import ASSUMED_FPS
from ..errors import ClapError
from .address import Address
from .containers import reason_of
from .names import frame_files
from .packets import whole_pictures
from .pictures import Shaper
from .reader import VideoReader, moving_picture, stated_fps, without_times
from .recorder import Recorder
from .snapshots import SnapshotCamera, polled_shots
from .times import Clock, at_rate
from .walltime import WallTime

__all__ = ["Connected", "Dropped", "Ended", "LiveReader", "Lost", "Shot"]

_PATIENCE = 10.0  # seconds without a picture after which a connection counts as lost
_SEEN_FIRST = 1.5  # seconds of pictures by which the rate of a stream is measured and its burst told from its pace
_HELD = 64  # pictures that may wait for their turn
_MOST_SEEN = 48  # fewer than those, as they all come at once
_POLL = 0.2
_FAREWELL = 3.0  # seconds for the thread to end; one that hangs in a driver dies with the process


@dataclass(frozen=True)
class Connected:
    """Pictures are coming, ``fps`` a second; ``seconds`` is when the first one was taken."""

    seconds: float
    fps: float


@dataclass(frozen=True)
class Shot:
    """A picture: when it was taken (seconds since 1970, of a file since its start), and when it was at hand here.

    ``arrived`` is a reading of :func:`time.monotonic`.
    """

    seconds: float
    arrived: float
    picture: np.ndarray


@dataclass(frozen=True)
class Dropped:
    """So many pictures were dropped here, since they came faster than they were taken off."""

    count: int


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


Item = Connected | Shot | Dropped | Lost | Ended


class LiveReader:
    """Reads in a thread from when it is entered to when it is left.

    Args:
        address: where from.
        side, colour, rate: as for :class:`~clap_vad.video.reader.VideoReader`.
        fps: pictures a second where the source does not say and its time stamps do not tell.
        wait: asked after each loss how many seconds to wait before the next try.
        recorder: is given all packets, for clips.
        poll: seconds between two requests to a camera that gives one picture per request; None finds a value.
    """

    def __init__(
        self,
        address: Address,
        *,
        side: int | None = None,
        colour: bool = False,
        rate: float | None = None,
        fps: float = ASSUMED_FPS,
        wait: Callable[[], float] = lambda: 1.0,
        recorder: Recorder | None = None,
        poll: float | None = None,
    ) -> None:
        self._address, self._side, self._colour, self._rate, self._fps = address, side, colour, rate, fps
        self._wait, self._recorder = wait, recorder
        self._items: queue.Queue[Item] = queue.Queue(_HELD)
        self._stop = threading.Event()
        asked = address.parts if address.may_be_asked else None
        self._snapshots = None if asked is None else SnapshotCamera(asked, poll, self._stop)
        self._dropped = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="clap live reader")

    def __enter__(self) -> LiveReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(queue.Empty):  # let go of a reader that waits for room
            while True:
                self._items.get_nowait()
        self._thread.join(_FAREWELL)

    def next(self, timeout: float) -> Item | None:
        """What comes next; None where nothing does for so many seconds.

        Raises:
            ClapError: a file that cannot be read.
        """
        try:
            return self._items.get(timeout=timeout)
        except queue.Empty:
            if self._error is not None:
                raise self._error from None
            return None

    def _run(self) -> None:
        try:
            if self._address.live:
                while not self._stop.is_set():
                    self._watch()
            elif self._address.path is not None:
                self._read(self._address.path)
        except BaseException as error:
            self._error = error

    def _watch(self) -> None:
        """One connection, from the try to its loss."""
        import av

        reason = "the stream ended"
        try:
            if self._snapshots is not None and self._snapshots.connect():
                self._pass_on(self._polled(self._snapshots))
            else:
                options, patience = self._address.options(_PATIENCE), (_PATIENCE, _PATIENCE)
                form = self._address.device
                with av.open(self._address.text, format=form, options=options, timeout=patience) as container:
                    self._pass_on(self._live(container))
        except (av.FFmpegError, ClapError) as error:
            reason = str(error) if isinstance(error, ClapError) else reason_of(error)
        except Exception as error:  # a library may raise anything on what is sent; watching goes on
            reason = f"unexpected {type(error).__name__}"  # its text may repeat the address
        finally:
            if self._recorder is not None:
                self._recorder.lost()
        if self._stop.is_set():
            return
        again = self._wait()
        self._put(Lost(time.time(), reason, again), sure=True)
        self._stop.wait(again)

    def _read(self, path: Path) -> None:
        """A file, all of it; its packets go to the recorder too, which keeps the last ones for events told later."""
        if path.is_dir() and not frame_files(path):
            raise ClapError(f"{path}: no numbered pictures in this folder; give a file, a camera or a stream")
        reader = VideoReader(path, side=self._side, colour=self._colour, rate=self._rate, fps=self._fps)
        if self._recorder is not None and not path.is_dir():
            reader.tap(self._recorder)
        self._put(Connected(0.0, reader.fps), sure=True)
        pictures = iter(reader)
        for picture in pictures:
            if not self._put(Shot(reader.seconds, time.monotonic(), picture), sure=True):
                pictures.close()  # type: ignore[attr-defined]  # a generator
                return
        self._put(Ended(reader.truncated), sure=True)

    def _pass_on(self, shots: Iterator[tuple[float, Shot]]) -> None:
        for seconds, shot in shots:
            if self._stop.is_set():
                return
            self._put(Shot(seconds, shot.arrived, shot.picture), sure=False)

    def _live(self, container: Any) -> Iterator[tuple[float, Shot]]:
        """The pictures of an open stream, once its rate is known."""
        stream = moving_picture(container, "the stream")
        if self._recorder is not None:
            self._recorder.connected(stream)
        shots = self._decoded(container, stream)
        first: list[tuple[float, Shot]] = []
        for stamp, shot in shots:
            first.append((stamp, shot))
            if stamp - first[0][0] >= _SEEN_FIRST or len(first) >= _MOST_SEEN or self._stop.is_set():
                break
        if not first:
            return
        fps = self._rate or _measured([stamp for stamp, _ in first], stated_fps(stream)) or self._fps
        wall = WallTime()
        wall.settle([stamp for stamp, _ in first], [shot.seconds for _, shot in first])
        self._put(Connected(wall(*_stamp_and_hour(first[0])), fps), sure=True)
        timed = ((wall(*_stamp_and_hour(entry)), entry[1]) for entry in _chained(first, shots))
        yield from at_rate(timed, self._rate) if self._rate else timed

    def _polled(self, camera: SnapshotCamera) -> Iterator[tuple[float, Shot]]:
        """The pictures of a camera that gives one per request."""
        shaper = Shaper(self._side, self._colour)
        self._put(Connected(time.time(), self._rate or camera.fps), sure=True)
        shots = polled_shots(camera, shaper, self._recorder)
        timed = ((snapshot.at, Shot(snapshot.at, snapshot.arrived, picture)) for snapshot, picture in shots)
        yield from at_rate(timed, self._rate) if self._rate else timed

    def _decoded(self, container: Any, stream: Any) -> Iterator[tuple[float, Shot]]:
        """(stamp, picture with the hour at which it arrived); what is broken is stepped over."""
        import av

        shaper, clock = Shaper(self._side, self._colour), Clock(stated_fps(stream) or self._fps)
        timed = not without_times(stream)
        arrivals = ((time.time(), packet) for packet in container.demux(stream))
        for now, packet in whole_pictures(arrivals):
            if self._stop.is_set():
                return
            if self._recorder is not None and packet.size:
                self._recorder.add(now, packet)
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, av.EOFError):
                    return
                continue
            for frame in frames:
                yield clock(frame.time if timed else now), Shot(now, time.monotonic(), shaper.decoded(frame))

    def _put(self, item: Item, *, sure: bool) -> bool:
        """Hand over, waiting for room where it has to be ``sure``; else what finds no room is dropped, and counted.

        Once something was dropped, all is until half of what waits is gone: one long hole does less harm than many.
        """
        if not sure and (self._items.full() or (self._dropped and self._items.qsize() > _HELD // 2)):
            self._dropped += 1
            return False
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._put(Dropped(count), sure=True)
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_POLL)
                return True
        return False


def _measured(stamps: list[float], stated: float | None) -> float | None:
    """Pictures a second by their time stamps, or what is stated where that is about the same or nothing can be seen."""
    span = stamps[-1] - stamps[0]
    if len(stamps) < 4 or span < _SEEN_FIRST / 3:
        return stated
    seen = (len(stamps) - 1) / span
    return stated if stated and abs(seen / stated - 1) < 0.15 else seen


def _stamp_and_hour(entry: tuple[float, Shot]) -> tuple[float, float]:
    return entry[0], entry[1].seconds


def _chained(first: list[tuple[float, Shot]], rest: Iterator[tuple[float, Shot]]) -> Iterator[tuple[float, Shot]]:
    yield from first
    first.clear()  # the pictures must not be held for as long as the stream lasts
    yield from rest
