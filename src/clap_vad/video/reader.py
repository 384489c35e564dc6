"""Reading the frames of a video from a file (decoded by FFmpeg through PyAV) or a folder of frames.

Only the current frame is kept in memory, whatever the video's length. Decoding uses one thread; parallel work means
several videos at once.
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
_LONGEST_IN_WRAPPING = 6 * 3600.0  # seconds; a reset counter looks like a gap up to the end of its 26.5 hours
_FEWEST_STAMPS = 4
_FASTEST_AVI = 120.0  # frames per second; a higher declared rate uses other units
MAX_ERRORS = 256  # consecutive undecodable packets after which the rest of a file is skipped

_Timed = Iterator[tuple[float, np.ndarray]]


class VideoReader:
    """Iterates over the frames of one video, once.

    Args:
        path: a video file or a folder of numbered pictures.
        side: longest side in pixels; larger frames are shrunk. None keeps their size.
        colour: RGB frames (H, W, 3) instead of grey ones (H, W), uint8.
        rate: frames per second to sample by time, see :func:`~clap_vad.video.times.at_rate`; None reads every frame.
        fps: frames per second if the source declares none (folders of frames, raw streams).
        track: number of the video track, see :func:`~clap_vad.video.tracks.choose_track`.

    Attributes:
        fps: output frames per second: ``rate``, or the declared rate if the time stamps agree with it, or the rate of
            the time stamps, or the argument ``fps``.
        stated: whether ``fps`` comes from the source or from ``rate``.
        seconds: time of the current frame since the first one, by the file's time stamps.
        metadata: metadata of the file, from FFmpeg.
        started: time of the first frame in seconds since 1970; None if the file declares none.
        shape: (height, width) of the source frame after rotation; None before the first frame.
        truncated: sentence about missing parts, set after the last frame; None if nothing is missing.
        notes: other sentences about which frames are read.
        repairs: faults of the time stamps so far.

    Frames of another size are scaled to that of the first, rotation in the metadata is undone, and a frame that cannot
    be decoded is skipped. In a folder of frames a broken file repeats the frame before it (at the start, the first
    good one), so that frame numbers stay valid. A link out of the folder counts as broken and is not read.

    Raises:
        ClapError: the file is missing, empty, not a video, contains no picture, or none can be decoded.
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
                pictures = at_rate(pictures, own, math.inf)  # an omitted chunk repeats the previous frame
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
            raise ClapError(f"{self.path}: no picture can be decoded; the file is damaged or truncated, copy it again")

    def tap(self, recorder: Recorder) -> None:
        """Send every packet of the file to ``recorder``, with its time in seconds since the first frame."""
        self._recorder = recorder
        recorder.connected(self._stream)

    def close(self) -> None:
        """Close the file. Reading to the end closes it too."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _own_fps(self) -> float | None:
        """Frames per second from the declared rate and the time stamps; None if neither is usable."""
        stated = stated_fps(self._stream)
        if not self._timed or "avi" in self._container.format.name:  # in AVI the frame number is the time
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
        """Yield the frames that can be decoded."""
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
        """Yield the same packets; each is sent to the recorder before it is decoded."""
        stamps = ((sent_at(packet) if self._timed else None, None, packet) for packet in packets)
        for seconds, packet in steady(stamps, step, longest=self._longest_hole):
            if packet.size and self._recorder is not None:
                self._recorder.add(seconds, packet)
            yield packet

    def _missing(self, seconds: float) -> str | None:
        """Sentence about missing or undecodable parts of a file that ended after ``seconds``; None if it is whole."""
        alone = None if self.notes or self.repairs.summary() else seconds  # the declared length may mean another track
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
                f"{self.path}: its pictures are links out of the folder, which are not read; copy the pictures into it"
            )
        picture, given = None, 0
        for number, file in enumerate(files):
            data = np.empty(0, np.uint8) if file in foreign else _bytes_of(file)
            flag = cv2.IMREAD_COLOR if self._colour else cv2.IMREAD_GRAYSCALE
            try:
                decoded = cv2.imdecode(data, flag) if data.size else None
            except cv2.error:  # more pixels than OpenCV accepts
                decoded = None
            if decoded is None:
                broken.append(file)
            else:
                picture = self._shaper.fitted(decoded[:, :, ::-1] if self._colour else decoded)
            if picture is not None:
                while given <= number:  # also for broken ones at the start, so that numbers stay valid
                    yield given / fps, picture
                    given += 1
        if broken:
            noun = "picture" if len(broken) == 1 else "pictures"
            self.truncated = f"{len(broken)} {noun} could not be read, the first is {harmless(broken[0].name)}"
        if foreign:
            self.truncated = f"{self.truncated}; links out of the folder are not read"
        self.truncated = "; ".join(filter(None, (self.truncated, frames.missing))) or None


def _bytes_of(picture: Path) -> np.ndarray:
    """The bytes of a picture file; empty if it is not a regular file, cannot be read or is too large."""
    try:
        status = picture.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_PICTURE:
            return np.empty(0, np.uint8)
        return np.fromfile(picture, np.uint8)
    except OSError:
        return np.empty(0, np.uint8)


def stated_fps(stream: Any) -> float | None:
    """Frames per second declared by a stream; None if missing or implausible."""
    rate = stream.guessed_rate if without_times(stream) else stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0 < rate < 1000 else None


def _wrapping(stream: Any) -> bool:
    """Whether the time stamps may wrap or restart, as in transport streams."""
    import av

    return bool(stream.container.format.flags & av.format.Flags.ts_discont.value)


def without_times(stream: Any) -> bool:
    """Whether it is a raw stream. FFmpeg gives its frames times at 25 per second, whatever rate it declares."""
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
