"""What the live reader relies on: a test server is a camera, and PyAV does with it what ``rtsp_server.py`` says."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from rtsp_server import RtspServer, programs_here

pytestmark = pytest.mark.network

TCP = {"rtsp_transport": "tcp", "fflags": "nobuffer", "analyzeduration": "200000"}


@pytest.fixture(params=programs_here())
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def camera(h264_video: Path, program: str) -> Iterator[RtspServer]:
    with RtspServer(h264_video, program=program) as server:
        yield server


def times(url, count, **options):
    """Stream times of so many frames, and the clock's seconds until the last had come."""
    begun = time.monotonic()
    with av.open(url, options={**TCP, **options}) as container:
        came = [(time.monotonic(), frame.time) for frame in itertools.islice(container.decode(video=0), count)]
    return [at for _, at in came if at is not None], came[-1][0] - begun


def test_frames_come_at_the_cameras_rate_past_the_videos_end_and_a_kill_ends_them_silently(camera):
    found, seconds = times(camera.url, 80)  # of a video of 75
    steps = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert steps[1:] == pytest.approx([0.04] * len(steps[1:]), abs=1e-6)
    assert seconds > 78 * 0.04  # not earlier than the camera takes them
    with av.open(camera.url, options=TCP) as container:
        frames = container.decode(video=0)
        next(frames)
        camera.kill()
        for _ in frames:
            pass
    with pytest.raises(av.error.ConnectionRefusedError):
        av.open(camera.url, options=TCP)
    camera.start()
    assert len(times(camera.url, 5)[0]) >= 4


def test_pictures_larger_than_a_packet_arrive_bit_for_bit(tmp_path, render, moving, program):
    options = {"g": "10", "x264-params": "bframes=0:threads=1"}
    path = render(tmp_path / "a.mp4", moving(30, 240, 320), options=options)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        assert max(packet.size for packet in packets) > 3 * 1400
        expected = [frame.to_ndarray() for packet in packets for frame in packet.decode()]
    with (
        RtspServer(path, program=program) as server,
        av.open(server.url, options={"rtsp_transport": "tcp"}) as container,
    ):
        found = [frame.to_ndarray() for frame in itertools.islice(container.decode(video=0), 20)]
    for one, other in zip(found, expected, strict=False):
        np.testing.assert_array_equal(one, other)


def test_a_key_frame_of_slices_comes_in_parts_of_which_the_first_has_no_time(tmp_path, render, moving, program):
    options = {"x264-params": "bframes=0:slices=2:threads=1:sliced-threads=0"}
    path = render(tmp_path / "a.mp4", moving(10, 96, 128), options=options)
    with (
        RtspServer(path, program=program) as server,
        av.open(server.url, options={"rtsp_transport": "tcp"}) as container,
    ):
        parts = [(packet.pts, packet.is_keyframe) for packet in itertools.islice(container.demux(video=0), 3)]
    assert parts == [(None, True), (0, True), (3600, False)]


def test_a_server_that_hangs_is_noticed_by_the_timeout_option(camera):
    with av.open(camera.url, options={**TCP, "timeout": "2000000"}) as container:
        frames = container.decode(video=0)
        next(frames)
        camera.pause(True)
        with pytest.raises(TimeoutError):
            list(frames)


@pytest.mark.parametrize("how", ["basic", "digest"])
def test_a_camera_that_asks_for_a_login(h264_video, program, how):
    with RtspServer(h264_video, "viewer:s3cret", how, program) as server:
        assert times(server.url.replace("//", "//viewer:s3cret@"), 3)[0]
        with pytest.raises(av.error.HTTPUnauthorizedError, match="wrong"):  # PyAV repeats the password: never show it
            av.open(server.url.replace("//", "//viewer:wrong@"), options=TCP)
        with pytest.raises(av.error.HTTPUnauthorizedError):
            av.open(server.url, options=TCP)


def test_an_address_that_it_does_not_have_is_not_found(camera):
    with pytest.raises(av.error.HTTPNotFoundError):
        av.open(camera.url.replace("/cam", "/other"), options=TCP)
