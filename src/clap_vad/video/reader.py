"""Pictures of a video, one after the other, from a file (decoded by FFmpeg through PyAV) or a folder of frames.

Nothing is held but the present picture, so a week of video needs no more memory than a minute. Decoding uses one
thread: parallel work is several videos at once.
"""

from __future__ import annotations

import datetime
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events import ASSUMED_FPS
from ..errors import ClapError, harmless
from .access import unreadable
from .containers import open_file
from .frames import frames_in
from .links import leads_out
from .pictures import Shaper
from .recorder import Recorder
from .times import Clock, at_rate, check_rate
from .tracks import choose_track, moving_picture

__all__ = ["VideoReader", "moving_picture", "stated_fps", "without_times"]

_LARGEST_PICTURE = 1 << 30  # bytes of a file in a folder of frames
MAX_ERRORS = 256  # packets in a row that cannot be decoded before the rest of a file is given up

_Timed = Iterator[tuple[float, np.ndarray]]


class VideoReader:
    """Iterates over the pictures of one video, once.

    Args:
        path: a video file or a folder of numbered pictures.
        side: pictures are shrunk until their longer side is at most this; None keeps their size.
        colour: RGB pictures (H, W, 3) instead of grey ones (H, W), uint8.
        rate: take so many pictures a second by their times, see :func:`~clap_vad.video.times.at_rate`; None takes
            every picture.
        fps: pictures a second where the source does not say (folders of frames, raw streams).
        track: number of the video track, see :func:`~clap_vad.video.tracks.choose_track`.

    Attributes:
        fps: pictures a second as they are given out: ``rate``, or the source's average, or the argument ``fps``.
        stated: whether the source or ``rate`` says so.
        seconds: time of the present picture since the first one, by the file's own time stamps.
        metadata: of the file, as FFmpeg tells it.
        started: when the first picture was taken, in seconds since 1970, where the file says so.
        shape: height and width of the source picture as shown (after rotation), once the first one was read.
        truncated: what is missing, as a sentence, once all was read.
        notes: other remarks on which of its pictures are read.

    Pictures that differ in size from the first are scaled to it, rotation noted in the file is undone, a picture that
    cannot be decoded is left out (a broken file in a folder of frames repeats the one before, at its start the first
    good one, so numbers still agree). A picture that is a link out of its folder counts as broken, and is not read.

    Raises:
        ClapError: the file is missing, empty, not a video, holds no picture, or none of it can be decoded.
    """

    def __init__(
        self,
        path: Path,
        *,
        side: int | None = None,
        colour: bool = False,
        rate: float | None = None,
        fps: float = ASSUMED_FPS,
        track: int | None = None,
    ) -> None:
        check_rate(rate)
        self.path = path
        self.seconds = 0.0
        self.metadata: dict[str, str] = {}
        self.started: float | None = None
        self.truncated: str | None = None
        self.notes: tuple[str, ...] = ()
        self._colour = colour
        self._shaper = Shaper(side, colour)
        self._container: Any = None
        self._recorder: Recorder | None = None
        own: float | None = None
        if not path.is_dir():
            self._container = open_file(path)
            chosen = choose_track(self._container, path, track)
            self._stream, self.notes = chosen.stream, (chosen.note,) if chosen.note else ()
            own = stated_fps(self._stream)
            self.metadata = dict(self._container.metadata)
            self.started = _creation_time(self.metadata)
        self.stated = bool(own or rate)
        pictures = self._from_folder(fps) if path.is_dir() else self._from_file(Clock(own or fps))
        self._pictures = at_rate(pictures, rate) if rate else pictures
        self.fps = rate or own or fps

    @property
    def shape(self) -> tuple[int, int] | None:
        return self._shaper.shape

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        try:
            for seconds, picture in self._pictures:
                self.seconds = seconds
                count += 1
                yield picture
        finally:
            self.close()
        if count == 0:
            raise ClapError(f"{self.path}: no picture in it can be decoded; the file is damaged or cut short")

    def tap(self, recorder: Recorder) -> None:
        """Give ``recorder`` every packet of the file, at its time in seconds since the first picture."""
        self._recorder = recorder
        recorder.connected(self._stream)

    def close(self) -> None:
        """Release the file; iterating to the end does it too."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _from_file(self, clock: Clock) -> _Timed:
        import av

        stream, packets, failed, in_a_row, end = self._stream, 0, 0, 0, None
        timed, shift = not without_times(stream), None  # from the file's time stamps to ours
        demuxer = self._container.demux(stream)
        while True:
            try:
                packet = next(demuxer)
                packets += packet.size > 0
                if self._recorder is not None and packet.size:
                    own = packet.pts if packet.is_keyframe or packet.dts is None else packet.dts
                    stamp = float(own * packet.time_base) if timed and own is not None else None
                    shift = -stamp if shift is None and stamp is not None else shift
                    # it is at hand before its picture is shown; where stamps begin anew, that picture must tell
                    at = max(self.seconds, stamp + shift) if stamp is not None and shift is not None else self.seconds
                    self._recorder.add(at, packet)
                frames = packet.decode()
            except StopIteration:
                break
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, av.EOFError):
                    break
                failed, in_a_row = failed + 1, in_a_row + 1
                if in_a_row > MAX_ERRORS:
                    break
                continue
            for frame in frames:
                in_a_row = 0
                end = frame.time if frame.time is not None else end
                seconds = clock(frame.time if timed else None)
                shift = shift if frame.time is None else seconds - frame.time
                yield seconds, self._shaper.decoded(frame)
        self.truncated = self._missing(packets, failed, end)

    def _missing(self, packets: int, failed: int, end: float | None) -> str | None:
        """What a file announces and does not hold."""
        parts = []
        announced = self._stream.frames
        duration = None if self.notes else self._container.duration  # of several tracks it is that of the longest
        if packets < announced:
            parts.append(f"{packets} of {announced} announced frames are there")
        elif not announced and duration and end is not None and duration / 1e6 - end > max(2.0, 0.05 * duration / 1e6):
            parts.append(f"it ends at {end:.1f} of {duration / 1e6:.1f} announced seconds")
        if failed:
            parts.append(f"{failed} {'packet' if failed == 1 else 'packets'} could not be decoded")
        return " and ".join(parts) or None

    def _from_folder(self, fps: float) -> _Timed:
        import cv2

        try:
            frames = frames_in(self.path)
        except OSError as error:
            raise ClapError(f"{self.path}: {unreadable(error)}") from None
        files = [self.path / name for name in frames.files]
        self.notes = (frames.note,) if frames.note else ()
        if not files:
            raise ClapError(f"{self.path}: no numbered pictures in this folder; give frames like 0001.jpg, 0002.jpg")
        broken: list[Path] = []
        foreign = {file for file in files if leads_out(file, self.path)}
        if len(foreign) == len(files):
            raise ClapError(
                f"{self.path}: its pictures are links that lead out of the folder; put the pictures themselves into it"
            )
        picture, given = None, 0
        for number, file in enumerate(files):
            data = np.empty(0, np.uint8) if file in foreign else _bytes_of(file)
            flag = cv2.IMREAD_COLOR if self._colour else cv2.IMREAD_GRAYSCALE
            try:
                decoded = cv2.imdecode(data, flag) if data.size else None
            except cv2.error:  # more pixels than OpenCV takes
                decoded = None
            if decoded is None:
                broken.append(file)
            else:
                picture = self._shaper.fitted(decoded[:, :, ::-1] if self._colour else decoded)
            if picture is not None:
                while given <= number:  # also for broken ones at the start, so that numbers still agree
                    yield given / fps, picture
                    given += 1
        if broken:
            noun = "picture" if len(broken) == 1 else "pictures"
            self.truncated = f"{len(broken)} {noun} could not be read, the first is {harmless(broken[0].name)}"
        if foreign:
            self.truncated = f"{self.truncated}; links that lead out of the folder are not read"
        self.truncated = "; ".join(filter(None, (self.truncated, frames.missing))) or None


def _bytes_of(picture: Path) -> np.ndarray:
    """The bytes of a picture; none where it is no file, may not be read or is far too large."""
    try:
        status = picture.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_PICTURE:
            return np.empty(0, np.uint8)
        return np.fromfile(picture, np.uint8)
    except OSError:
        return np.empty(0, np.uint8)


def stated_fps(stream: Any) -> float | None:
    """Pictures a second that a stream announces; None where that is missing or absurd."""
    rate = stream.guessed_rate if without_times(stream) else stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < 1000 else None


def without_times(stream: Any) -> bool:
    """Whether it is a raw stream, to whose pictures FFmpeg gives times of 25 a second, whatever the stream says."""
    import av

    return bool(stream.container.format.flags & av.format.Flags.no_timestamps.value)


def _creation_time(metadata: Mapping[str, str]) -> float | None:
    text = metadata.get("creation_time")
    try:
        taken = datetime.datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    # cameras without a clock write the year 1904 or 1970
    return taken.timestamp() if taken is not None and taken.tzinfo is not None and taken.year > 1980 else None
