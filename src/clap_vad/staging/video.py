"""Frames to a real ``.mp4`` file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..persistence import atomic_path

__all__ = ["write_video"]


def write_video(path: Path, frames: Iterable[np.ndarray], *, width: int, height: int, fps: int) -> None:
    """Encode frames, (height, width, 3) uint8 RGB, as H.264 in MP4; the file is whole or absent.

    One encoding thread, so that the same frames give the same bytes.
    """
    import av

    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "superfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
