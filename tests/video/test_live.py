"""The live reader on files and folders, and on a network camera that sends JPEGs; RTSP is in ``tests/monitoring``."""

from __future__ import annotations

import http.server
import itertools
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from waiting import LIMIT
from waiting import until as wait_until

from clap_vad.backoff import Backoff
from clap_vad.errors import ClapError
from clap_vad.video.address import Address
from clap_vad.video.handover import _HELD
from clap_vad.video.live import LiveReader
from clap_vad.video.live_items import Connected, Dropped, Ended, Lost, Shot
from clap_vad.video.reader import VideoReader
from clap_vad.video.recorder import Recorder
from clap_vad.video.stream_items import Look

pytestmark = pytest.mark.network


def items(reader: LiveReader, patience: float = LIMIT) -> Iterator[object]:
    """What comes, up to the end."""
    item: object = None
    until = time.monotonic() + patience
    while not isinstance(item, Ended) and time.monotonic() < until:
        item = reader.next(0.1)
        if item is not None:
            yield item


@pytest.mark.parametrize("options", [{}, {"rate": 10.0}, {"side": 32, "colour": True}])
def test_a_file_read_live_equals_the_file_read(tmp_path, render, moving, options):
    path = render(tmp_path / "a.mp4", moving(150, 48, 64), metadata={"creation_time": "2024-03-01T12:00:00Z"})
    plain = VideoReader(path, **options)
    expected = [(plain.seconds, picture) for picture in plain]
    with LiveReader(Address.of(str(path)), Look(**options)) as reader:
        first, *shots, ended = items(reader)
    assert first == Connected(0.0, plain.fps) and ended == Ended(None)
    assert [shot.seconds for shot in shots] == [seconds for seconds, _ in expected]
    for shot, (_, picture) in zip(shots, expected, strict=True):
        np.testing.assert_array_equal(shot.picture, picture)


def test_a_damaged_folder_of_frames_ends_with_the_remark(tmp_path):
    for number in range(1, 6):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((24, 32), 20 * number, np.uint8))
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "4.png").write_bytes(b"no picture")
    with LiveReader(Address.of(str(tmp_path)), Look(fps=5.0)) as reader:
        first, *shots, ended = items(reader)
    assert first == Connected(0.0, 5.0)
    assert [(shot.seconds, int(shot.picture[0, 0])) for shot in shots] == [
        *((0.0, 40), (0.2, 40), (0.4, 60), (0.6, 60), (0.8, 100))
    ]
    assert ended == Ended("2 pictures could not be read, the first is 1.png")


def test_what_cannot_be_read_is_raised(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "nothing").mkdir()
    for name, reason in {"empty.mp4": "is empty", "text.mp4": "cannot be read", "nothing": "no numbered"}.items():
        with (
            LiveReader(Address.of(str(tmp_path / name))) as reader,
            pytest.raises(ClapError, match=f"{name}: .*{reason}"),
        ):
            list(items(reader))


def test_a_file_waits_for_whoever_takes_its_pictures_and_can_be_left(tmp_path, render, moving):
    path, before = render(tmp_path / "a.mp4", moving(200, 48, 64)), threading.active_count()
    with LiveReader(Address.of(str(path))) as reader:
        wait_until(reader._handover._items.full)
        assert reader._handover._items.qsize() <= _HELD
        assert sum(isinstance(item, Shot) for item in items(reader)) == 200
    with LiveReader(Address.of(str(path))) as reader:
        list(itertools.islice(items(reader), 5))
    wait_until(lambda: threading.active_count() == before, "the threads to end")


def test_an_event_at_the_end_of_a_file_still_gets_its_clip(tmp_path, render, moving):
    recorder, told = Recorder(1.0, pytest.fail), []
    with LiveReader(Address.of(str(render(tmp_path / "a.mp4", moving(50, 48, 64)))), recorder=recorder) as reader:
        told += items(reader)
        time.sleep(0.2)
    clip = recorder.begin(tmp_path, "clip", 1.5)
    recorder.close()
    assert isinstance(told[-1], Ended) and len(list(VideoReader(clip))) > 10


class JpegCamera(http.server.BaseHTTPRequestHandler):
    """Ten pictures a second, as cameras send them to browsers: without times. Picture n is grey of n."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        started = time.monotonic()
        for number in range(30):
            data = cv2.imencode(".jpg", np.full((48, 64, 3), number, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(max(0.0, started + (number + 1) / 10 - time.monotonic()))


def test_pictures_without_times_are_timed_by_when_they_come(tmp_path):
    """FFmpeg gives them times of 25 a second."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), JpegCamera) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = Address.of(f"http://me:s3cret@127.0.0.1:{server.server_port}/video")
        with LiveReader(address, backoff=Backoff("camera", 60.0, 60.0)) as reader:
            found = []
            for item in items(reader):
                found.append(item)
                if isinstance(item, Lost):
                    break
        server.shutdown()
    shots = [item for item in found if isinstance(item, Shot)]
    span = shots[-1].seconds - shots[0].seconds
    assert 24 <= len(shots) <= 30 and 0.6 * len(shots) / 10 < span
    assert not any(isinstance(item, Dropped) for item in found)
    assert isinstance(found[-1], Lost) and "s3cret" not in str(found)
