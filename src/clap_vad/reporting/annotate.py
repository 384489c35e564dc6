"""Writing a video with its scores and events drawn on the frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import ClapError
from ..video.reader import VideoReader
from ..video.writer import VideoWriter
from .overlay import Overlay, ScoredFrames
from .thumbnails import has_pictures

__all__ = ["DEFAULT_SIDE", "annotate_video"]

DEFAULT_SIDE = 960


def annotate_video(
    path: Path,
    file: Path,
    scored: ScoredFrames,
    *,
    rate: float | None = None,
    track: int | None = None,
    side: int = DEFAULT_SIDE,
    blur: bool = False,
    shown: Callable[[int], None] = lambda _: None,
) -> int:
    """Write the annotated video as MP4. Every frame keeps its time; only one frame is in memory.

    Args:
        path: a video file or a folder of frames.
        file: the output file, written atomically.
        scored: scores and events of the same frames.
        rate: sampling rate of the extractor in frames per second; None if it used all frames.
        track: number of the video track; None for the one with the most pictures.
        side: largest length of the longer side in pixels; frames less than 480 pixels wide are enlarged.
        blur: average each frame over large cells, see :func:`~clap_vad.reporting.thumbnails.blurred`.
        shown: called regularly with the number of frames written.

    Returns:
        The number of frames written.

    Raises:
        ClapError: the input has no pictures (tracks), or none can be decoded.
        OSError: the file cannot be written.
    """
    if not has_pictures(path):
        raise ClapError(f"{path}: contains no pictures to annotate; give the video")
    reader = VideoReader(path, side=side, colour=True, rate=rate, track=track)
    overlay, count = None, 0
    try:
        with VideoWriter(file, reader.fps, timed=True) as writer:
            for count, picture in enumerate(reader, 1):
                if overlay is None:
                    overlay = Overlay(scored, picture.shape[:2], side=side, blur=blur)
                writer.add(overlay.draw(picture, count - 1, reader.seconds), reader.seconds)
                if count % 100 == 0:
                    shown(count)
    finally:
        reader.close()
    return count
