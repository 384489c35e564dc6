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
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..core.events.detection import ASSUMED_FPS
from ..core.events.timing import believed_fps, usual_step
from ..errors import ClapError
from .address import Address
from .arrival import ArrivalTime
from .containers import reason_of
from .names import frame_files
from .packets import whole_pictures
from .pictures import Shaper
from .reader import VideoReader, stated_fps, without_times
from .recorder import Recorder
from .snapshots import SnapshotCamera, polled_shots
from .times import Repairs, at_rate, steady
from .tracks import choose_track

__all__ = ["Connected", "Dropped", "Ended", "LiveReader", "Lost", "Noted", "Shot"]

_PATIENCE = 10.0  # seconds without a picture after which a connection counts as lost
_SEEN_FIRST = 1.5  # seconds of pictures, and
_FEWEST_SEEN = 6  # pictures, by which the rate of a stream is measured and its burst told from its pace
_HELD = 64  # pictures that may wait for their turn
_MOST_SEEN = 48  # fewer than those, as they all come at once
_POLL = 0.2
_FAREWELL = 3.0  # seconds for the thread to end; one that hangs in a driver dies with the process


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


T = TypeVar("T")
_Picture = tuple[float | None, float, np.ndarray]  # its stamp, when it arrived, what is to be seen

Item = Connected | Shot | Dropped | Noted | Lost | Ended


class LiveReader:
    """Reads in a thread from when it is entered to when it is left.

    Args:
        address: where from.
        side, colour, rate, track: as for :class:`~clap_vad.video.reader.VideoReader`.
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
        track: int | None = None,
        wait: Callable[[], float] = lambda: 1.0,
        recorder: Recorder | None = None,
        poll: float | None = None,
    ) -> None:
        self._address, self._side, self._colour, self._rate, self._fps = address, side, colour, rate, fps
        self._track = track
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
                self._polled(self._snapshots)
            else:
                options, patience = self._address.options(_PATIENCE), (_PATIENCE, _PATIENCE)
                form = self._address.device
                with av.open(self._address.text, format=form, options=options, timeout=patience) as container:
                    self._live(container)
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
        self._put(Lost(time.monotonic(), reason, again), sure=True)
        self._stop.wait(again)

    def _read(self, path: Path) -> None:
        """A file, all of it; its packets go to the recorder too, which keeps the last ones for events told later."""
        if path.is_dir() and not frame_files(path):
            raise ClapError(f"{path}: no numbered pictures in this folder; give a file, a camera or a stream")
        look: dict[str, Any] = {"side": self._side, "colour": self._colour, "rate": self._rate, "fps": self._fps}
        reader = VideoReader(path, **look, track=self._track)
        if self._recorder is not None and not path.is_dir():
            reader.tap(self._recorder)
        self._put(Connected(0.0, reader.fps), sure=True)
        for note in reader.notes:
            self._put(Noted(note), sure=True)
        pictures = iter(reader)
        for picture in pictures:
            if not self._put(Shot(reader.seconds, time.monotonic(), picture), sure=True):
                pictures.close()  # type: ignore[attr-defined]  # a generator
                return
        if told := reader.repairs.told():
            self._put(Noted(told), sure=True)
        self._put(Ended(reader.truncated), sure=True)

    def _pass_on(self, shots: Iterator[Shot], repairs: Repairs) -> None:
        noted = False
        for shot in shots:
            if self._stop.is_set():
                return
            self._put(shot, sure=False)
            if not noted and (told := repairs.told()):
                noted = self._put(Noted(told), sure=True)

    def _live(self, container: Any) -> None:
        """Pass on the pictures of an open stream, once its rate is known."""
        chosen = choose_track(container, "the stream", self._track)
        stream = chosen.stream
        if chosen.note is not None:
            self._put(Noted(chosen.note), sure=True)
        if self._recorder is not None:
            self._recorder.connected(stream)
        pictures = self._decoded(container, stream)
        first: list[_Picture] = []
        for picture in pictures:
            first.append(picture)
            if len(first) >= _MOST_SEEN or (len(first) >= _FEWEST_SEEN and _seen(first)) or self._stop.is_set():
                break
        if not first:
            return
        timed = any(stamp is not None for stamp, _, _ in first) and (
            len(first) < _FEWEST_SEEN or usual_step([stamp for stamp, _, _ in first if stamp is not None]) is not None
        )
        stamps = [stamp if timed else arrived for stamp, arrived, _ in first]
        known = believed_fps([stamp for stamp in stamps if stamp is not None], stated_fps(stream)) or self._fps
        repairs, taken = Repairs(), ArrivalTime()
        items = ((stamp if timed else at, at, (at, shown)) for stamp, at, shown in _chained(first, pictures))
        even = steady(items, 1 / known, repairs)
        begun = list(islice(even, len(first)))
        taken.settle([seconds for seconds, _ in begun], [arrived for _, (arrived, _) in begun])
        self._put(Connected(taken(begun[0][0], begun[0][1][0]), self._rate or known), sure=True)
        shots = (
            (when := taken(seconds, arrived), Shot(when, arrived, picture))
            for seconds, (arrived, picture) in _chained(begun, even)
        )
        self._even(shots, repairs)

    def _polled(self, camera: SnapshotCamera) -> None:
        """Pass on the pictures of a camera that gives one per request."""
        self._put(Connected(time.monotonic(), self._rate or camera.fps), sure=True)
        shots = (
            (arrived, Shot(arrived, arrived, picture))
            for arrived, picture in polled_shots(camera, Shaper(self._side, self._colour), self._recorder)
        )
        self._even(shots, Repairs())

    def _even(self, shots: Iterator[tuple[float, Shot]], repairs: Repairs) -> None:
        """Pass on pictures, evenly where a rate is wanted."""
        if self._rate:
            shots = ((seconds, replace(shot, seconds=seconds)) for seconds, shot in at_rate(shots, self._rate))
        self._pass_on((shot for _, shot in shots), repairs)

    def _decoded(self, container: Any, stream: Any) -> Iterator[_Picture]:
        """(stamp, when it arrived, picture); what is broken is stepped over."""
        import av

        shaper = Shaper(self._side, self._colour)
        timed = not without_times(stream)
        arrivals = ((time.monotonic(), packet) for packet in container.demux(stream))
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
                yield frame.time if timed else None, now, shaper.decoded(frame)

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


def _seen(first: list[_Picture]) -> bool:
    """Whether the pictures reach over the time by which a stream is measured, by their stamps or as they came."""
    (start, came, _), (end, at, _) = first[0], first[-1]
    return at - came >= _SEEN_FIRST or (start is not None and end is not None and end - start >= _SEEN_FIRST)


def _chained(first: list[T], rest: Iterator[T]) -> Iterator[T]:
    yield from first
    first.clear()  # the pictures must not be held for as long as the stream lasts
    yield from rest
