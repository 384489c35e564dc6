"""What the live reader relies on: the test server is a camera, and PyAV does with it what ``rtsp_server.py`` says."""

from __future__ import annotations

import itertools
import time

import av
import pytest
from rtsp_server import RtspServer

TCP = {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "200000"}


def times(url, count, **options):
    """Stream times of so many frames, and the clock's seconds between the second and the last."""
    with av.open(url, options={**TCP, **options}) as container:
        came = [(time.monotonic(), frame.time) for frame in itertools.islice(container.decode(video=0), count)]
    return [at for _, at in came if at is not None], came[-1][0] - came[1][0]


def test_frames_come_at_the_cameras_rate_past_the_videos_end_and_a_kill_ends_them_silently(rtsp_server):
    found, seconds = times(rtsp_server.url, 80)  # of a video of 75
    steps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert steps[1:] == pytest.approx([0.04] * len(steps[1:]), abs=1e-6)
    assert 2.4 < seconds < 4.5  # 78 frames in 3.12 s, of which FFmpeg keeps a few back at the start
    with av.open(rtsp_server.url, options=TCP) as container:
        frames = container.decode(video=0)
        next(frames)
        rtsp_server.kill()
        assert len(list(frames)) < 30
    with pytest.raises(av.error.ConnectionRefusedError):
        av.open(rtsp_server.url, options=TCP)
    rtsp_server.start()
    assert len(times(rtsp_server.url, 5)[0]) >= 4


def test_a_server_that_hangs_is_noticed_by_the_timeout_option(rtsp_server):
    with av.open(rtsp_server.url, options={**TCP, "timeout": "300000"}) as container:
        frames = container.decode(video=0)
        next(frames)
        rtsp_server.pause(True)
        with pytest.raises(TimeoutError):
            list(frames)


@pytest.mark.usefixtures("_an_rtsp_server_is_here")
@pytest.mark.parametrize("how", ["basic", "digest"])
def test_a_camera_that_asks_for_a_login(h264_video, how):
    with RtspServer(h264_video, "viewer:s3cret", how) as server:
        assert times(server.url.replace("//", "//viewer:s3cret@"), 3)[0]
        with pytest.raises(av.error.HTTPUnauthorizedError, match="wrong"):  # PyAV repeats the password: never show it
            av.open(server.url.replace("//", "//viewer:wrong@"), options=TCP)
