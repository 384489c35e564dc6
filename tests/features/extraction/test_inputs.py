"""A search of a folder: all that is met is taken or named, and nothing stops the rest."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.cli.features_extract import extract as extract_command
from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.extraction.inputs import find_inputs

SMALL = ["--extractor=motion", "--side=64", "--rows=2", "--cols=2", "--workers=1"]


def search(*paths: Path) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Names of the videos found, what was passed over and what was ignored, by name."""
    passed: dict[str, str] = {}
    ignored: dict[str, str] = {}
    found = find_inputs(
        paths,
        make_extractor("motion", {}),
        pass_over=lambda path, reason: passed.update({path.name: reason}),
        ignore=lambda path, kind: ignored.update({path.name: kind}),
    )
    return list(found), passed, ignored


def frames(folder: Path, count: int = 3, start: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        cv2.imwrite(str(folder / f"{number:04}.png"), np.full((32, 32), 10 * number, np.uint8))


def test_recordings_are_found_under_any_name_and_all_else_is_named(tmp_path, render, moving):
    disk = tmp_path / "disk"
    disk.mkdir()
    film = render(disk / "gate.mp4", moving(20, 48, 64)).read_bytes()
    for name in ("cam.dav", "noextension", "rec.ssv", "half.MP4_", "b.f4v"):
        (disk / name).write_bytes(film)
    frames(disk / "frames")
    (disk / "gate.m4a").touch()
    (disk / "gate.jpg").touch()
    for name, data in {"README": b"hello", "log.txt": b"x", "index.bin": np.random.default_rng(0).bytes(9000)}.items():
        (disk / name).write_bytes(data)
    (disk / ".hidden").write_bytes(b"\0")
    found, passed, ignored = search(disk)
    assert found == ["b.f4v", "cam.dav", "frames", "gate", "half.MP4_", "noextension", "rec.ssv"]
    assert list(passed) == ["index.bin"] and passed["index.bin"].startswith(
        f"{disk / 'index.bin'}: in an unsupported format"
    )
    assert set(ignored) == {"gate.m4a", "gate.jpg", "README", "log.txt"}
    done = CliRunner().invoke(extract_command, [str(disk), *SMALL, f"--out={tmp_path / 's'}", "--json"])
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["videos"] == 7 and list(result["skipped"]) == [str(disk / "index.bin")]
    assert sum(kind["count"] for kind in result["left_out"]) == 4
    (disk / "index.bin").unlink()
    _, passed, _ = search(disk)
    assert passed == {}  # so side files leave the status 0


def test_pictures_beside_recordings_do_not_hide_them(tmp_path):
    frames(tmp_path / "a")
    (tmp_path / "a" / "gate.mp4").touch()
    frames(tmp_path / "b", count=1)
    frames(tmp_path / "b" / "day", count=4)
    frames(tmp_path / "c")
    (tmp_path / "c" / "sub").mkdir()
    (tmp_path / "c" / "sub" / "yard.mp4").touch()
    found, passed, ignored = search(tmp_path)
    assert found == ["c", "day", "gate", "yard"]
    assert "one of 3 numbered pictures" in passed["0001.png"]
    assert ignored == {"0001.png": "a picture that is not a video frame"}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_listed_is_named_and_the_rest_taken(tmp_path, monkeypatch, code):
    for name in ("a", "lost+found", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name[0]}.mp4").touch()
    listed = os.scandir

    def scandir(path):
        if Path(path).name == "lost+found":
            raise OSError(code, os.strerror(code))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, passed, _ = search(tmp_path)
    assert found == ["a", "z"]
    assert list(passed) == ["lost+found"] and os.strerror(code) in passed["lost+found"]
    found, passed, _ = search(tmp_path / "a", tmp_path / "lost+found")  # named, among others
    assert found == ["a"] and list(passed) == ["lost+found"]
    with pytest.raises(ClapError, match=rf"lost\+found: .*{os.strerror(code)}.*; "):
        search(tmp_path / "lost+found")


def test_pipes_sockets_devices_and_dead_links_are_named_and_not_opened(tmp_path):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a short path, as sockets need
    (folder / "a.mp4").touch()
    os.mkfifo(folder / "pipe.mp4")
    (folder / "gone").symlink_to("nowhere")
    (folder / "round").symlink_to("round")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        found, passed, _ = search(folder)
    assert found == ["a", "gone"]
    assert set(passed) == {"pipe.mp4", "socket", "gone", "round"}
    assert "a named pipe" in passed["pipe.mp4"] and "a socket" in passed["socket"]
    assert all("broken link; repair or remove it" in passed[name] for name in ("gone", "round"))
    with pytest.raises(ClapError, match=r"pipe\.mp4: is a named pipe, not a file; give a video file"):
        list(make_extractor("motion", {}).extract(folder / "pipe.mp4"))


def test_a_link_out_of_the_folder_is_named_whatever_it_is_called(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(b"\x1a\x45\xdf\xa3")
    (tmp_path / "in" / "a.mp4").touch()
    (tmp_path / "in" / "dump").symlink_to(tmp_path / "secret")
    found, passed, _ = search(tmp_path / "in")
    assert found == ["a"] and "a link out of" in passed["dump"]


def test_each_folder_is_listed_once_and_no_known_file_opened(tmp_path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number}.mp4").touch()
        (tmp_path / f"{number}.m4a").touch()
        (tmp_path / f"sub{number}").mkdir()
        (tmp_path / f"sub{number}" / f"s{number}.mp4").touch()
    listings: list[str] = []
    resolved: list[str] = []
    listed, real, opened = os.scandir, os.path.realpath, Path.open
    monkeypatch.setattr(os, "scandir", lambda path: listings.append(str(path)) or listed(path))
    monkeypatch.setattr(os, "listdir", lambda path: listings.append(str(path)))
    monkeypatch.setattr(os.path, "realpath", lambda path, **more: resolved.append(str(path)) or real(path, **more))
    monkeypatch.setattr(Path, "open", lambda path, *more: pytest.fail(f"{path} was opened") or opened(path, *more))
    found, _, ignored = search(tmp_path)
    assert len(found) == 80 and len(ignored) == 40
    assert len(listings) == len(set(listings)) == 41
    assert len(resolved) <= 3
