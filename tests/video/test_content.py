"""Files without a known extension: recordings are recognised by their content."""

from __future__ import annotations

import zipfile

import cv2
import numpy as np
import pytest

from clap_vad.video import content
from clap_vad.video.content import Content, content_of
from clap_vad.video.folder import sort_videos

FORMATS = {
    "mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4", "ts": "libx264",
    "m2ts": "libx264", "mpg": "mpeg2video", "vob": "mpeg2video", "flv": "libx264", "asf": "wmv2", "h264": "libx264",
    "m2v": "mpeg2video", "m4v": "mpeg4", "mjpeg": "mjpeg", "nut": "mpeg4", "ivf": "libvpx", "y4m": "rawvideo",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_a_recording_is_found_whatever_it_is_called(tmp_path, render, moving, form):
    codec = FORMATS[form]
    path = render(
        tmp_path / f"a.{form}",
        moving(12, 64, 96),
        codec=codec,
        pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
        options={"strict": "unofficial"} if codec == "mjpeg" else {},
    )
    assert content_of(path.rename(tmp_path / "dump.x")) is Content.VIDEO


@pytest.mark.parametrize("form", ["ts", "h264"])
def test_a_recording_behind_bytes_of_its_recorder_is_found(tmp_path, render, moving, form):
    path = render(tmp_path / f"a.{form}", moving(40, 64, 96))
    junk = np.random.default_rng(0).bytes(100)
    (tmp_path / "dump").write_bytes(junk + path.read_bytes())
    assert content_of(tmp_path / "dump") is Content.VIDEO


def test_what_is_no_recording_is_not_taken_for_one(tmp_path, render_sound):
    data = {
        "empty": (b"", Content.EMPTY),
        "text": ("Straße\n".encode("latin-1"), Content.TEXT),
        "text16": ("notes".encode("utf-16"), Content.TEXT),
        "list": (b"ffconcat version 1.0\nfile gate.mp4\n", Content.TEXT),
        "program": (b"\x7fELF" + bytes(200), Content.PROGRAM),
        "document": (b"%PDF-1.7\n" + bytes(range(256)), Content.DOCUMENT),
        "picture": (cv2.imencode(".jpg", np.zeros((64, 64), np.uint8))[1].tobytes(), Content.PICTURE),
        "zeros": (bytes(100_000), Content.UNKNOWN),
    }
    data |= {f"random{k}": (np.random.default_rng(k).bytes(100_000), Content.UNKNOWN) for k in range(20)}
    for name, (written, _) in data.items():
        (tmp_path / name).write_bytes(written)
    assert {name: content_of(tmp_path / name) for name in data} == {name: kind for name, (_, kind) in data.items()}
    with zipfile.ZipFile(tmp_path / "packed", "w") as archive:
        archive.writestr("a", "b")
    assert content_of(tmp_path / "packed") is Content.ARCHIVE
    assert content_of(render_sound(tmp_path / "a.wav").rename(tmp_path / "tone")) is Content.SOUND


def test_a_known_extension_is_not_opened(tmp_path, monkeypatch):
    def fail(path):
        raise AssertionError(path)

    monkeypatch.setattr("clap_vad.video.folder.content_of", fail)
    names = ["a.mp4", "a.m4a", "b.DAV", "c.wav", "a.jpg", "x.txt", "y.json", "Thumbs.db"]
    found = sort_videos(tmp_path, names, (), False)
    assert [path.name for path in found.inputs] == ["a.mp4", "b.DAV", "c.wav"]
    assert {left.path.name for left in found.left_out} == {"a.m4a", "a.jpg", "x.txt", "y.json", "Thumbs.db"}
    assert not any(left.doubtful for left in found.left_out)


def test_a_link_out_is_never_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "open_file", None)
    found = sort_videos(tmp_path, ["dump"], {"dump"}, False)
    assert [path.name for path in found.inputs] == ["dump"]  # its search tells of the link
