"""What a file may be taken for: texts that lead to other files are refused, every container that is read still is."""

from __future__ import annotations

import functools
import http.server
import itertools
import shutil
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from waiting import LIMIT

from clap_vad.backoff import Backoff
from clap_vad.errors import ClapError
from clap_vad.video import stream_items
from clap_vad.video.address import Address
from clap_vad.video.containers import FILE_FORMATS, STREAM_FORMATS
from clap_vad.video.live import LiveReader
from clap_vad.video.live_items import Connected, Lost, Shot
from clap_vad.video.reader import VideoReader

LEADING = {  # what stands in a text called .mp4, with ``secret.mp4`` and ``secret.ts`` beside it -> what is said of it
    "ffconcat version 1.0\nfile secret.mp4\n": r"a list of files \(FFmpeg's concat format\)",
    "\ufeffffconcat version 1.0\nfile secret.mp4\n": r"a list of files \(FFmpeg's concat format\)",
    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n": r"a play list \(m3u8\)",
    "[playlist]\nFile1=secret.mp4\n": r"a play list \(pls\)",
    "v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n": (
        r"a description of a stream \(SDP\)"
    ),
    '<?xml version="1.0"?>\n<MPD type="static"><BaseURL>secret.mp4</BaseURL></MPD>\n': r"a play list \(DASH\)",
}


@pytest.mark.parametrize("name", ["gate.mp4", "gate.m3u8", "gate"])
@pytest.mark.parametrize("text", LEADING)
def test_a_text_that_leads_to_other_files_is_refused_and_named(tmp_path, render, moving, text, name):
    render(tmp_path / "secret.mp4", moving(10, 48, 64))
    render(tmp_path / "secret.ts", moving(10, 48, 64))
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ClapError, match=rf"{name}: this is {LEADING[text]}, which refers to other files or addresses"):
        list(VideoReader(tmp_path / name))


def test_a_name_with_a_pattern_is_the_file_of_that_name(tmp_path):
    """FFmpeg would take it for all pictures whose names fit."""
    cv2.imwrite(str(tmp_path / "gate1.jpg"), np.full((24, 32), 200, np.uint8))
    shutil.copy(tmp_path / "gate1.jpg", tmp_path / "gate%d.jpg")
    with pytest.raises(ClapError, match=r"gate%d\.jpg: cannot be read as a video: .* unsupported container format"):
        list(VideoReader(tmp_path / "gate%d.jpg"))


ENCODED = {  # extension -> encoder, pixels
    **dict.fromkeys(("mp4", "m4v", "mov", "mkv", "ts", "mts", "m2ts", "h264", "flv", "3gp"), ("libx264", "yuv420p")),
    **dict.fromkeys(("avi", "nut", "wmv", "asf"), ("mpeg4", "yuv420p")),
    **dict.fromkeys(("mpg", "mpeg", "vob"), ("mpeg2video", "yuv420p")),
    **{"webm": ("libvpx", "yuv420p"), "ivf": ("libvpx", "yuv420p"), "ogv": ("libvpx", "yuv420p")},
    **{"hevc": ("libx265", "yuv420p"), "mjpeg": ("mjpeg", "yuvj420p"), "gif": ("gif", "rgb8")},
    **{"y4m": ("wrapped_avframe", "yuv420p"), "wtv": ("mpeg2video", "yuv420p"), "mxf": ("mpeg2video", "yuv420p")},
}


@pytest.mark.parametrize("extension", ENCODED)
def test_what_was_read_is_read_still(tmp_path, render, moving, extension):
    codec, pix_fmt = ENCODED[extension]
    path = render(tmp_path / f"a.{extension}", moving(8, 96, 96), codec=codec, pix_fmt=pix_fmt)
    with av.open(str(path)) as container:  # with no list at all
        expected = sum(1 for _ in container.decode(video=0))
    assert expected > 0
    assert len(list(VideoReader(path))) == expected


def test_the_lists_name_formats_that_exist_and_none_that_leads_elsewhere():
    known = set(itertools.chain.from_iterable(name.split(",") for name in av.formats_available))
    assert set(STREAM_FORMATS) <= known
    leading = {"concat", "hls", "dash", "sdp", "rtsp", "rtp", "sap", "image2", "lavfi", "vobsub", "tty", "avisynth"}
    assert not leading & set(FILE_FORMATS)
    assert not (leading - {"hls", "dash", "sdp", "rtsp", "rtp"}) & set(STREAM_FORMATS)


class Server(http.server.SimpleHTTPRequestHandler):
    """The files of a folder; ``/moved`` leads to the file that ``moved`` in it names."""

    def do_GET(self) -> None:
        if self.path != "/moved":
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", Path(self.directory, "moved").read_text())
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path, render, moving):
    """A folder with ``part.ts`` in it, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    render(folder / "part.ts", moving(60, 48, 64))
    handler = functools.partial(Server, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def first_lost(address: str) -> list[object]:
    """What comes from an address up to the loss of the connection."""
    found: list[object] = []
    end = time.monotonic() + LIMIT
    with LiveReader(Address.of(address), backoff=Backoff("camera", 60.0, 60.0)) as reader:
        while not any(isinstance(item, Lost) for item in found):
            assert time.monotonic() < end
            item = reader.next(0.1)
            found += [] if item is None else [item]
    return found


def test_a_play_list_of_an_address_is_read(served):
    folder, address = served
    (folder / "live.m3u8").write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\npart.ts\n#EXT-X-ENDLIST\n"
    )
    found = first_lost(f"{address}/live.m3u8")
    assert isinstance(found[0], Connected) and sum(isinstance(item, Shot) for item in found) > 0


@pytest.mark.parametrize("way", ["redirect", "play list", "concat", "sdp"])
def test_no_address_leads_to_a_file_of_this_machine(served, tmp_path, render, moving, monkeypatch, way):
    folder, address = served
    if way == "sdp":
        monkeypatch.setattr(stream_items, "_PATIENCE", 2.0)  # packets that it announces never come
    render(tmp_path / "secret.ts", moving(60, 48, 64))
    secret = (tmp_path / "secret.ts").as_uri()
    (folder / "moved").write_text(secret)
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.4,\n{secret}\n#EXT-X-ENDLIST\n")
    (folder / "list.txt").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    (folder / "list.sdp").write_text(f"v=0\nc=IN IP4 127.0.0.1\na=control:{secret}\nm=video 0 RTP/AVP 33\n")
    name = {"redirect": "moved", "play list": "list.m3u8", "concat": "list.txt", "sdp": "list.sdp"}[way]
    assert [type(item) for item in first_lost(f"{address}/{name}")] == [Lost]


def test_a_concat_list_of_an_address_is_not_followed_even_to_that_address(served):
    folder, address = served
    (folder / "list.txt").write_text("ffconcat version 1.0\nfile part.ts\n")
    assert [type(item) for item in first_lost(f"{address}/list.txt")] == [Lost]
