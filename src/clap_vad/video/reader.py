"""Pictures of a video, one after the other, from a file (decoded by FFmpeg through PyAV) or a folder of frames.

Nothing is held but the present picture, so a week of video needs no more memory than a minute. Decoding uses one
thread: parallel work is several videos at once.
"""

from __future__ import annotations

import datetime
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events.detection import ASSUMED_FPS
from ..core.events.timing import believed_fps, usual_step
from ..errors import ClapError, harmless
from .access import unreadable
from .completeness import missing_part
from .containers import open_file
from .frames import frames_in
from .links import leads_out
from .packets import FilePackets, sent_at
from .pictures import Shaper
from .recorder import Recorder
from .times import LONGEST_HOLE, Repairs, at_rate, check_rate, steady
from .tracks import choose_track

__all__ = ["VideoReader", "stated_fps", "without_times"]

_LARGEST_PICTURE = 1 << 30  # bytes of a file in a folder of frames
_LONGEST_IN_WRAPPING = 6 * 3600.0  # seconds; a counter that began anew looks like a hole of the rest of its 26.5 hours
_FEWEST_STAMPS = 4
_FASTEST_AVI = 120.0  # pictures a second; what states more counts in other units
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
        fps: pictures a second as they are given out: ``rate``, or what the source states where its time stamps agree,
            or what these tell, or the argument ``fps``.
        stated: whether the source or ``rate`` says so.
        seconds: time of the present picture since the first one, by the file's own time stamps.
        metadata: of the file, as FFmpeg tells it.
        started: when the first picture was taken, in seconds since 1970, where the file says so.
        shape: height and width of the source picture as shown (after rotation), once the first one was read.
        truncated: what is missing, as a sentence, once all was read.
        notes: other remarks on which of its pictures are read.
        repairs: what was wrong with its time stamps so far.

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
        self.repairs = Repairs()
        own: float | None = None
        if path.is_dir():
            pictures = self._from_folder(fps)
        else:
            self._container = open_file(path)
            chosen = choose_track(self._container, path, track)
            self._stream, self.notes = chosen.stream, (chosen.note,) if chosen.note else ()
            self._packets = FilePackets(self._container.demux(self._stream))
            self._timed = not without_times(self._stream)
            self._longest_hole = _LONGEST_IN_WRAPPING if _wrapping(self._stream) else LONGEST_HOLE
            own = self._own_fps()
            self.metadata = dict(self._container.metadata)
            self.started = _creation_time(self.metadata)
            pictures = self._from_file(1 / (own or fps))
            if "avi" in self._container.format.name and own and own <= _FASTEST_AVI:
                pictures = at_rate(pictures, own, math.inf)  # a chunk that is left out repeats the picture before
        self.stated = bool(own or rate)
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

    def _own_fps(self) -> float | None:
        """Pictures a second by what the file says and by its time stamps; None where neither tells."""
        stated = stated_fps(self._stream)
        if not self._timed or "avi" in self._container.format.name:  # there a picture's number is its time
            return stated
        stamps = [stamp for packet in self._packets.look_ahead() if (stamp := sent_at(packet)) is not None]
        if len(stamps) >= _FEWEST_STAMPS and usual_step(stamps) is None:
            self._timed = False  # stamps that do not advance
        return believed_fps(stamps, stated)

    def _from_file(self, step: float) -> _Timed:
        frames = ((frame.time if self._timed else None, None, frame) for frame in self._decoded(step))
        end = 0.0
        for end, frame in steady(frames, step, self.repairs, self._longest_hole):
            yield end, self._shaper.decoded(frame)
        self.truncated = self._missing(end + step)

    def _decoded(self, step: float) -> Iterator[Any]:
        """The frames that can be decoded."""
        import av

        self._failed = in_a_row = 0
        packets: Iterator[Any] = iter(self._packets)
        if self._recorder is not None:
            packets = self._recorded(packets, step)
        while True:
            try:
                frames = next(packets).decode()
            except StopIteration:
                break
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, av.EOFError):
                    break
                self._failed, in_a_row = self._failed + 1, in_a_row + 1
                if in_a_row > MAX_ERRORS:
                    break
                continue
            in_a_row = 0 if frames else in_a_row
            yield from frames

    def _recorded(self, packets: Iterator[Any], step: float) -> Iterator[Any]:
        """The same packets, each handed to the recorder before it is decoded."""
        stamps = ((sent_at(packet) if self._timed else None, None, packet) for packet in packets)
        for seconds, packet in steady(stamps, step, longest=self._longest_hole):
            if packet.size and self._recorder is not None:
                self._recorder.add(seconds, packet)
            yield packet

    def _missing(self, seconds: float) -> str | None:
        """What a file announces and does not hold, having ended after so many seconds."""
        alone = None if self.notes or self.repairs.told() else seconds  # else what it announces is no length of these
        parts = [missing_part(self.path, self._stream, self._packets.count, alone)]
        if self._failed:
            parts.append(f"{self._failed} {'packet' if self._failed == 1 else 'packets'} could not be decoded")
        return " and ".join(part for part in parts if part) or None

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


def _wrapping(stream: Any) -> bool:
    """Whether its stamps may wrap or begin anew, as those of transport streams."""
    import av

    return bool(stream.container.format.flags & av.format.Flags.ts_discont.value)


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
