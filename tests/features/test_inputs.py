"""What lies in a folder is taken, or named: recordings under any name, unreadable things, in linear time."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.features.extractor import make_extractor
from clap_vad.features.inputs import OtherFiles, find_inputs
from clap_vad.video import content, folder
from clap_vad.video.content import Content, content_of

MOTION = make_extractor("motion", {})
FILMS = {  # container -> codec, options of the muxer
    "mp4": ("mpeg4", {}),
    "mov": ("mpeg4", {}),
    "mpegts": ("mpeg2video", {}),
    "flv": ("flv", {}),
    "avi": ("mpeg4", {}),
    "matroska": ("mpeg4", {}),
    "mpeg": ("mpeg2video", {}),
    "mpeg2video": ("mpeg2video", {}),
    "mjpeg": ("mjpeg", {}),
    "m4v": ("mpeg4", {}),
    "asf": ("mpeg4", {}),
}


def film(path: Path, form: str = "mp4", count: int = 12) -> Path:
    codec, options = FILMS[form]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=form, options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(count):
            picture = np.full((48, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def searched(folder: Path) -> tuple[set[str], dict[str, str], OtherFiles]:
    """Names of what is taken, what may be missed with its sentence, and what is of another kind."""
    passed: dict[str, str] = {}
    others = OtherFiles()
    found = find_inputs(
        [folder], MOTION, pass_over=lambda path, why: passed.update({path.name: why}), ignore=others.add
    )
    return {path.name for path in found.values()}, passed, others


@pytest.mark.parametrize("form", FILMS)
@pytest.mark.parametrize("suffix", ["", ".rec", ".MP4_", ".0001"])
def test_a_recording_is_known_by_its_content_where_its_name_does_not_tell(tmp_path, form, suffix):
    film(tmp_path / f"gate{suffix}", form)
    taken, passed, _ = searched(tmp_path)
    assert (taken, passed) == ({f"gate{suffix}"}, {})


@pytest.mark.parametrize("suffix", [".dav", ".mjpg", ".m2v", ".f4v", ".m2t", ".divx", ".DAV", ".Mp4"])
def test_suffixes_of_recorders_are_tried_without_a_look_into_them(tmp_path, suffix, monkeypatch):
    (tmp_path / f"gate{suffix}").write_bytes(b"who knows")
    monkeypatch.setattr(folder, "content_of", lambda path: pytest.fail("was opened"))
    assert searched(tmp_path)[0] == {f"gate{suffix}"}


def test_all_else_is_named_or_counted(tmp_path):
    film(tmp_path / "gate.mp4")
    (tmp_path / "README").write_text("what is what\n" * 50)
    (tmp_path / "gate.srt").write_text("1\n")
    (tmp_path / "list.xyz").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (tmp_path / "old.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "blob.bin").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    taken, passed, others = searched(tmp_path)
    assert taken == {"gate.mp4"}
    assert set(passed) == {"old.zip", "blob.bin"}
    assert "unpack it" in passed["old.zip"] and "convert it to mp4 or mkv" in passed["blob.bin"]
    assert sum(entry["count"] for entry in others.summary()) == 3
    assert "README" in OtherFiles.told(others.summary())


def test_pictures_beside_recordings_are_named(tmp_path):
    film(tmp_path / "gate.mp4")
    for number in range(5):
        (tmp_path / f"{number:04}.jpg").write_bytes(b"a picture")
    taken, passed, _ = searched(tmp_path)
    assert taken == {"gate.mp4"}
    (sentence,) = passed.values()
    assert "one of 5 numbered pictures that lie beside recordings" in sentence


@pytest.mark.parametrize("kind", ["fifo", "socket", "link to nothing", "link out"])
def test_what_is_no_readable_file_is_named_and_the_rest_taken(tmp_path, kind):
    inside = tmp_path / "in"
    film(inside / "gate.mp4")
    odd = inside / "odd.mp4"
    listening = socket.socket(socket.AF_UNIX)
    try:
        if kind == "fifo":
            os.mkfifo(odd)
        elif kind == "socket":
            listening.bind(str(odd))
        elif kind == "link to nothing":
            odd.symlink_to(inside / "nowhere.mp4")
        else:
            odd.symlink_to(film(tmp_path / "other.mp4"))
        taken, passed, _ = searched(inside)
    finally:
        listening.close()
    if kind == "link to nothing":  # its name says that a video is missed: the reader tells why
        assert taken == {"gate.mp4", "odd.mp4"}
    else:
        assert taken == {"gate.mp4"} and set(passed) == {"odd.mp4"}


def as_nobody(work: Callable[[], object]) -> None:
    """Do something as a user who may not read everything."""
    if os.geteuid() != 0:
        work()
        return
    os.seteuid(65534)
    try:
        work()
    finally:
        os.seteuid(0)


def test_what_this_user_may_not_read_is_named_and_the_rest_taken(tmp_path):
    for part in (tmp_path, *tmp_path.parents):
        if not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o011)
    disk = tmp_path / "disk"
    film(disk / "a" / "gate.mp4")
    film(disk / "secret", "mpegts")
    (disk / "lost+found").mkdir()
    film(disk / "lost+found" / "x.mp4")
    (disk / "lost+found").chmod(0o700 if os.geteuid() == 0 else 0)
    (disk / "secret").chmod(0o600 if os.geteuid() == 0 else 0)
    seen: list[tuple[set[str], dict[str, str], OtherFiles]] = []
    as_nobody(lambda: seen.append(searched(disk)))
    ((taken, passed, _),) = seen
    assert taken == {"gate.mp4"}
    assert set(passed) == {"lost+found", "secret"}
    assert all("this user may not read it (Permission denied); change its permissions" in s for s in passed.values())
    (disk / "lost+found").chmod(0o755)


@pytest.mark.parametrize("kind", ["sound beside films", "folders", "films"])
def test_a_folder_is_listed_once_and_nothing_in_it_opened_whatever_it_holds(tmp_path, monkeypatch, kind):
    count = 300
    for number in range(count):
        if kind == "folders":
            (tmp_path / f"d{number:04}").mkdir()
        (tmp_path / f"{number:04}.mp4").touch()
        if kind == "sound beside films":
            (tmp_path / f"{number:04}.m4a").touch()
    calls = {"scandir": 0, "look": 0}
    scandir = os.scandir

    def counted(path: object) -> object:
        calls["scandir"] += 1
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    monkeypatch.setattr(os, "listdir", lambda path: pytest.fail("listed again"))
    monkeypatch.setattr(content, "open_file", lambda *_, **__: pytest.fail("was opened"))
    taken, passed, _ = searched(tmp_path)
    assert len(taken) == count and not passed
    assert calls["scandir"] == 1 + (count if kind == "folders" else 0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", Content.EMPTY),
        (b"a text\n" * 20, Content.TEXT),
        ("\ufeffein Text\n".encode("utf-16"), Content.TEXT),
        (b"PK\x03\x04" + bytes(60), Content.ARCHIVE),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), Content.PICTURE),
        (b"fLaC" + bytes(60), Content.SOUND),
        (b"SQLite format 3\0" + bytes(60), Content.DOCUMENT),
        (b"\x7fELF" + bytes(60), Content.PROGRAM),
        (np.random.default_rng(1).bytes(30_000), Content.UNKNOWN),
        (bytes(30_000), Content.UNKNOWN),
    ],
)
def test_contents_that_are_no_recordings(tmp_path, data, expected):
    (tmp_path / "a").write_bytes(data)
    assert content_of(tmp_path / "a") is expected
