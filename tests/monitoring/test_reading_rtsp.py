"""The live reader on a real RTSP server that is killed, hangs, asks for a login, and is faster than its viewer."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rtsp_server import RtspServer
from waiting import LIMIT
from waiting import until as wait_until

from clap_vad.backoff import Backoff
from clap_vad.video import handover, stream_items
from clap_vad.video.address import Address
from clap_vad.video.live import LiveReader
from clap_vad.video.live_items import Connected, Dropped, Lost, Shot
from clap_vad.video.reader import VideoReader
from clap_vad.video.recorder import Recorder

pytestmark = pytest.mark.network


def until(reader: LiveReader, kind: type, count: int = 1, patience: float = LIMIT) -> list[object]:
    """Everything up to the ``count``-th item of this kind."""
    found: list[object] = []
    end = time.monotonic() + patience
    while sum(isinstance(item, kind) for item in found) < count:
        item = reader.next(0.1)
        found += [] if item is None else [item]
        assert time.monotonic() < end, f"no {kind.__name__} among {[type(item).__name__ for item in found]}"
    return found


def test_it_loses_a_killed_server_finds_it_again_and_says_when_pictures_were_taken(rtsp_server, tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "_HELD", 100_000)  # nothing is dropped, however slow this viewer is
    recorder = Recorder(5.0, pytest.fail)
    with LiveReader(Address.of(rtsp_server.url), backoff=Backoff("camera", 0.2, 0.2), recorder=recorder) as reader:
        before = time.monotonic()
        first, *shots = until(reader, Shot, 60)
        assert isinstance(first, Connected) and first.fps == pytest.approx(25)
        assert before - 1 < first.seconds <= time.monotonic()
        seconds = np.array([shot.seconds for shot in shots])
        assert (np.diff(seconds) >= 0).all() and np.median(np.diff(seconds)) == pytest.approx(0.04, abs=0.005)
        levels = np.array([shot.picture.mean() for shot in shots])
        steps = np.diff(levels[levels.argmin() :][:60])
        assert np.abs(steps[steps > 0] - np.median(steps)).max() < 4  # every picture, none twice
        clip = recorder.begin(tmp_path, "clip", seconds[30])
        rtsp_server.kill()
        lost = until(reader, Lost)[-1]
        assert lost.reason == "the stream ended" and 0.16 <= lost.again_in <= 0.2
        assert len(list(VideoReader(clip))) > 20  # whole as soon as the line is gone
        refused = until(reader, Lost)[-1]
        assert "refused" in refused.reason
        rtsp_server.start()
        assert isinstance(until(reader, Shot, 3)[-1], Shot)
    reader._thread.join(LIMIT)
    assert not reader._thread.is_alive()


def test_what_nobody_takes_is_dropped_and_counted(rtsp_server):
    with LiveReader(Address.of(rtsp_server.url)) as reader:
        until(reader, Connected)
        wait_until(lambda: reader._handover._dropped > 20, "pictures to be dropped")
        assert reader._handover._items.qsize() <= handover._HELD
        found = until(reader, Dropped)
        shots = [item for item in (*found, *until(reader, Shot, 1)) if isinstance(item, Shot)]
    dropped = found[-1].count
    hole = shots[-1].seconds - shots[-2].seconds
    assert dropped > 20 and hole == pytest.approx((dropped + 1) * 0.04, abs=0.1)


def test_a_server_that_hangs_counts_as_lost(rtsp_server, monkeypatch):
    monkeypatch.setattr(stream_items, "_PATIENCE", 2.0)
    with LiveReader(Address.of(rtsp_server.url), backoff=Backoff("camera", 0.2, 0.2)) as reader:
        until(reader, Shot, 2)
        rtsp_server.pause(True)
        lost = until(reader, Lost)[-1]
        assert lost.reason


@pytest.mark.parametrize("password", ["s3cret", "s3cret%21"])
def test_a_wrong_login_is_told_without_it(h264_video, password):
    with RtspServer(h264_video, "viewer:another", "digest") as server:
        address = Address.of(server.url.replace("//", f"//viewer:{password}@"))
        with LiveReader(address, backoff=Backoff("camera", 30.0)) as reader:
            (lost,) = until(reader, Lost)
    assert "uthoriz" in lost.reason
    assert "s3cret" not in str(lost) and "s3cret" not in address.shown
