"""What tests of live streams share: a small H.264 video, and an RTSP server that sends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from rtsp_server import RtspServer


@pytest.fixture(scope="session")
def h264_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s of 160 x 120 at 25 per second, a key frame a second, no B-frames; frame n is grey of about 3 n."""
    path = tmp_path_factory.mktemp("camera") / "camera.mp4"
    with av.open(str(path), "w") as out:
        options = {"preset": "ultrafast", "g": "25", "x264-params": "bframes=0:sliced-threads=0:threads=1"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(75):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((120, 160, 3), 3 * number, np.uint8))))
        out.mux(stream.encode())
    return path


@pytest.fixture
def rtsp_server(h264_video: Path) -> Iterator[RtspServer]:
    """Running."""
    with RtspServer(h264_video) as server:
        yield server
