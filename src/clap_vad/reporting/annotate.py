"""A video again, with its score and its events drawn on: for eyes that want to check what a model says."""

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
    """Write the annotated video as MP4; every picture keeps its time, and one picture is in memory at a time.

    Args:
        path: a video file or a folder of frames.
        file: what to write, whole or absent.
        scored: scores and events of the same frames.
        rate: frames a second that were counted, where an extractor took them evenly; None for all.
        track: number of the video track that they were taken from; None for the one with most pictures.
        side: longer side of the pictures, at most; those below 480 pixels of width are enlarged.
        blur: average each picture over large cells, see :func:`~clap_vad.reporting.thumbnails.blurred`.
        shown: told the number of pictures done, now and then.

    Returns:
        How many pictures were written.

    Raises:
        ClapError: the input has no pictures (tracks), or none can be decoded.
        OSError: the file cannot be written.
    """
    if not has_pictures(path):
        raise ClapError(f"{path}: holds no pictures to annotate; give the video itself")
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
