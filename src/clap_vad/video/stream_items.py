"""Opens a file, a stream or a polled camera, measures its rate and yields its pictures with their times."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
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
from .live_items import Connected, Ended, Item, Noted, Shot
from .names import frame_files
from .packets import whole_pictures
from .pictures import Shaper
from .reader import VideoReader, stated_fps, without_times
from .recorder import Recorder
from .snapshots import SnapshotCamera, polled_shots
from .times import Repairs, at_rate, steady
from .tracks import choose_track

__all__ = ["Look", "file_items", "polled_items", "stream_items"]

_PATIENCE = 10.0  # seconds without a picture after which a connection counts as lost
_SEEN_FIRST = 1.5  # seconds of pictures, and
_FEWEST_SEEN = 6  # pictures, that measure a stream's rate, apart from its first burst
_MOST_SEEN = 48  # fewer than fit in a handover, as they all come at once

T = TypeVar("T")
_Picture = tuple[float | None, float, np.ndarray]  # its time stamp, its arrival time, the picture


@dataclass(frozen=True)
class Look:
    """The form of the pictures.

    Attributes:
        side, colour, rate, track: as for :class:`~clap_vad.video.reader.VideoReader`.
        fps: pictures a second, if neither the source nor its time stamps give them.
    """

    side: int | None = None
    colour: bool = False
    rate: float | None = None
    fps: float = ASSUMED_FPS
    track: int | None = None

    @property
    def shaper(self) -> Shaper:
        """Converts decoded pictures to this form."""
        return Shaper(self.side, self.colour)


def file_items(path: Path, look: Look, recorder: Recorder | None) -> Generator[Item, None, None]:
    """All items of a file; its packets also go to the recorder, which keeps the last ones for later events.

    Raises:
        ClapError: the file cannot be read.
    """
    if path.is_dir() and not frame_files(path):
        raise ClapError(f"{path}: no numbered pictures in this folder; give a file, a camera or a stream")
    reader = VideoReader(path, side=look.side, colour=look.colour, rate=look.rate, fps=look.fps, track=look.track)
    if recorder is not None and not path.is_dir():
        reader.tap(recorder)
    yield Connected(0.0, reader.fps)
    for note in reader.notes:
        yield Noted(note)
    with closing(iter(reader)) as pictures:  # type: ignore[type-var]  # a generator, so it has close()
        for picture in pictures:
            yield Shot(reader.seconds, time.monotonic(), picture)
    if repaired := reader.repairs.summary():
        yield Noted(repaired)
    yield Ended(reader.truncated)


def stream_items(
    address: Address, look: Look, recorder: Recorder | None, stop: threading.Event
) -> Generator[Item, None, None]:
    """The items of one connection to a stream, from opening to end.

    Raises:
        av.FFmpegError, ClapError: it cannot be opened, or the connection is lost.
    """
    import av

    options, patience = address.options(_PATIENCE), (_PATIENCE, _PATIENCE)
    with av.open(address.text, format=address.device, options=options, timeout=patience) as container:
        chosen = choose_track(container, "the stream", look.track)
        if chosen.note is not None:
            yield Noted(chosen.note)
        if recorder is not None:
            recorder.connected(chosen.stream)
        yield from _measured(chosen.stream, look, _decoded(container, chosen.stream, look, recorder, stop), stop)


def polled_items(camera: SnapshotCamera, look: Look, recorder: Recorder | None) -> Generator[Item, None, None]:
    """The pictures of a camera that gives one per request, once it is connected.

    Raises:
        ClapError: the connection is lost.
    """
    yield Connected(time.monotonic(), look.rate or camera.fps)
    shots = (
        (arrived, Shot(arrived, arrived, picture)) for arrived, picture in polled_shots(camera, look.shaper, recorder)
    )
    yield from _even(shots, look.rate, Repairs())


def _measured(
    stream: Any, look: Look, pictures: Iterator[_Picture], stop: threading.Event
) -> Generator[Item, None, None]:
    """The pictures of an open stream, after measuring its rate."""
    first: list[_Picture] = []
    for picture in pictures:
        first.append(picture)
        if len(first) >= _MOST_SEEN or (len(first) >= _FEWEST_SEEN and _seen(first)) or stop.is_set():
            break
    if not first:
        return
    timed = any(stamp is not None for stamp, _, _ in first) and (
        len(first) < _FEWEST_SEEN or usual_step([stamp for stamp, _, _ in first if stamp is not None]) is not None
    )
    stamps = [stamp if timed else arrived for stamp, arrived, _ in first]
    known = believed_fps([stamp for stamp in stamps if stamp is not None], stated_fps(stream)) or look.fps
    repairs, taken = Repairs(), ArrivalTime()
    items = ((stamp if timed else at, at, (at, shown)) for stamp, at, shown in _chained(first, pictures))
    even = steady(items, 1 / known, repairs)
    begun = list(islice(even, len(first)))
    taken.settle([seconds for seconds, _ in begun], [arrived for _, (arrived, _) in begun])
    yield Connected(taken(begun[0][0], begun[0][1][0]), look.rate or known)
    shots = (
        (when := taken(seconds, arrived), Shot(when, arrived, picture))
        for seconds, (arrived, picture) in _chained(begun, even)
    )
    yield from _even(shots, look.rate, repairs)


def _even(shots: Iterator[tuple[float, Shot]], rate: float | None, repairs: Repairs) -> Generator[Item, None, None]:
    """Pictures, evenly spaced if a rate is set, and one note about repaired times."""
    if rate:
        shots = ((seconds, replace(shot, seconds=seconds)) for seconds, shot in at_rate(shots, rate))
    noted = False
    for _, shot in shots:
        yield shot
        if not noted and (repaired := repairs.summary()):
            yield Noted(repaired)
            noted = True


def _decoded(
    container: Any, stream: Any, look: Look, recorder: Recorder | None, stop: threading.Event
) -> Iterator[_Picture]:
    """(time stamp, arrival time, picture); broken pictures are skipped."""
    import av

    shaper = look.shaper
    timed = not without_times(stream)
    arrivals = ((time.monotonic(), packet) for packet in container.demux(stream))
    for now, packet in whole_pictures(arrivals):
        if stop.is_set():
            return
        if recorder is not None and packet.size:
            recorder.add(now, packet)
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, av.EOFError):
                return
            continue
        for frame in frames:
            yield frame.time if timed else None, now, shaper.decoded(frame)


def _seen(first: list[_Picture]) -> bool:
    """Whether the pictures cover the time needed to measure a stream, by time stamp or by arrival."""
    (start, came, _), (end, at, _) = first[0], first[-1]
    return at - came >= _SEEN_FIRST or (start is not None and end is not None and end - start >= _SEEN_FIRST)


def _chained(first: list[T], rest: Iterator[T]) -> Iterator[T]:
    yield from first
    first.clear()  # else the pictures are held as long as the stream lasts
    yield from rest
