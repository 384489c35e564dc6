"""Pictures of a video, one after the other, from a file (decoded by FFmpeg through PyAV) or a folder of frames.

Nothing is held but the present picture, so a week of video needs no more memory than a minute. Decoding uses one
thread: parallel work is several videos at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ClapError
from .naming import VIDEO_EXTENSIONS, natural_key

if TYPE_CHECKING:
    import av

__all__ = ["VideoReader", "frame_files", "is_video"]

VIDEO_SUFFIXES = {f".{extension}" for extension in VIDEO_EXTENSIONS}
AUDIO_SUFFIXES = {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".wma"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
MAX_ERRORS = 256  # packets in a row that cannot be decoded before the rest of a file is given up

# Pixel formats whose first plane is the grey picture, 8 bits a pixel: from 16 to 235, or from 0 to 255.
_LIMITED_LUMA = {"yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "nv12", "nv16", "nv21", "nv24"}
_FULL_LUMA = {"gray", "yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)  # ITU-R BT.601, 16..235


def is_video(path: Path) -> bool:
    """Whether a path met in a folder is to be tried: a video file, a folder of frames, or sound without a picture.

    Sound is tried so that it is reported rather than missed, unless a video of the same name stands beside it.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        return bool(frame_files(path))
    if suffix in AUDIO_SUFFIXES:
        return not any(
            other.suffix.lower() in VIDEO_SUFFIXES for other in path.parent.glob("*") if other.stem == path.stem
        )
    return suffix in VIDEO_SUFFIXES


def frame_files(folder: Path) -> list[Path]:
    """The numbered pictures that make a folder one video, in order of their numbers."""
    pictures = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES and file.stem[-1:].isdigit() and not file.name.startswith(".")
    ]
    return sorted(pictures, key=lambda file: natural_key(file.name))


class VideoReader:
    """Iterates over the pictures of one video, once.

    Args:
        path: a video file or a folder of numbered pictures.
        side: pictures are shrunk until their longer side is at most this; None keeps their size.
        colour: RGB pictures (H, W, 3) instead of grey ones (H, W), uint8.

    Attributes:
        fps: average frame rate, None where the source does not say (folders of frames, raw streams).
        shape: height and width of the source picture as shown (after rotation), once the first one was read.
        truncated: what is missing, as a sentence, once all was read.

    Pictures that differ in size from the first are scaled to it, rotation noted in the file is undone, a picture that
    cannot be decoded is left out (a broken file in a folder of frames repeats the one before, so numbers still agree).

    Raises:
        ClapError: the file is missing, empty, not a video, holds no picture, or none of it can be decoded.
    """

    def __init__(self, path: Path, *, side: int | None = None, colour: bool = False) -> None:
        self.path = path
        self.fps: float | None = None
        self.shape: tuple[int, int] | None = None
        self.truncated: str | None = None
        self._side, self._colour = side, colour
        self._size: tuple[int, int] | None = None  # (width, height) of every picture that is given out
        self._container: Any = None
        if path.is_dir():
            self._pictures = self._from_folder()
        else:
            self._container = self._open()
            self._pictures = self._from_file()

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        try:
            for picture in self._pictures:
                count += 1
                yield picture
        finally:
            self.close()
        if count == 0:
            raise ClapError(f"{self.path}: no picture in it can be decoded; the file is damaged or cut short")

    def close(self) -> None:
        """Release the file; iterating to the end does it too."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> Any:
        import av

        if not self.path.exists():
            raise ClapError(f"{self.path}: no such file")
        if self.path.stat().st_size == 0:
            raise ClapError(f"{self.path}: the file is empty; fetch it again")
        try:
            # "file:" keeps names like "cam:1.mp4" from being taken for an address, the list keeps play lists local
            name = f"file:{self.path.resolve()}"
            container = av.open(name, options={"protocol_whitelist": "file,crypto,data"}, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise ClapError(f"{self.path}: cannot be read as a video ({_reason(error)})") from None
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in container.streams.video if not stream.disposition & cover]
        if not streams or streams[0].codec_context is None:
            container.close()
            raise ClapError(f"{self.path}: holds no video stream; give a file with a moving picture")
        self._stream = streams[0]
        self._stream.codec_context.thread_count = 1
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate and 0 < rate < 1000 else None
        return container

    def _from_file(self) -> Iterator[np.ndarray]:
        import av

        stream, packets, failed, in_a_row, end = self._stream, 0, 0, 0, None
        demuxer = self._container.demux(stream)
        while True:
            try:
                packet = next(demuxer)
                packets += packet.size > 0
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
                yield self._upright(frame)
        self.truncated = self._missing(packets, failed, end)

    def _missing(self, packets: int, failed: int, end: float | None) -> str | None:
        """What a file announces and does not hold."""
        parts = []
        announced, duration = self._stream.frames, self._container.duration
        if packets < announced:
            parts.append(f"{packets} of {announced} announced frames are there")
        elif not announced and duration and end is not None and duration / 1e6 - end > max(2.0, 0.05 * duration / 1e6):
            parts.append(f"it ends at {end:.1f} of {duration / 1e6:.1f} announced seconds")
        if failed:
            parts.append(f"{failed} {'packet' if failed == 1 else 'packets'} could not be decoded")
        return " and ".join(parts) or None

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture of a decoded frame as it is to be shown, at the size that is given out."""
        name, limited = frame.format.name, False
        if self._colour:
            picture = frame.to_ndarray(format="rgb24")
        elif name in _LIMITED_LUMA | _FULL_LUMA:  # the first plane is the grey picture: no conversion needed
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)[: frame.height * plane.line_size]
            picture = rows.reshape(frame.height, plane.line_size)[:, : frame.width]
            limited = name in _LIMITED_LUMA and frame.color_range != _FULL_RANGE
        else:
            picture = frame.to_ndarray(format="gray")
        turns = round(frame.rotation / 90) % 4
        picture = self._fit(np.rot90(picture, turns) if turns else picture)
        return _EXPAND[picture] if limited else picture

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        """Scale a picture to the size of the first one, shrunk to ``side``; always a fresh, contiguous array."""
        import cv2

        height, width = picture.shape[:2]
        if self._size is None:
            self.shape = (height, width)
            scale = min(1.0, (self._side or math.inf) / max(height, width))
            self._size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if (width, height) == self._size:
            return np.array(picture)
        return cv2.resize(np.ascontiguousarray(picture), self._size, interpolation=cv2.INTER_AREA)

    def _from_folder(self) -> Iterator[np.ndarray]:
        import cv2

        files = frame_files(self.path)
        if not files:
            raise ClapError(f"{self.path}: no numbered pictures in this folder; give frames like 0001.jpg, 0002.jpg")
        broken: list[Path] = []
        picture = None
        for file in files:
            data = np.fromfile(file, np.uint8)
            flag = cv2.IMREAD_COLOR if self._colour else cv2.IMREAD_GRAYSCALE
            decoded = cv2.imdecode(data, flag) if data.size else None
            if decoded is None:
                broken.append(file)
            else:
                picture = self._fit(decoded[:, :, ::-1] if self._colour else decoded)
            if picture is not None:
                yield picture
        if broken:
            noun = "picture" if len(broken) == 1 else "pictures"
            self.truncated = f"{len(broken)} {noun} could not be read, the first is {broken[0].name}"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
