"""What is taken for an address of a camera, what for a file, and that no login is ever shown."""

from __future__ import annotations

import pytest

from clap_vad.errors import ClapError
from clap_vad.video.address import Address


@pytest.mark.parametrize(
    ("source", "text", "device"),
    [
        ("camera:0", "/dev/video0", "v4l2"),
        ("/dev/video12", "/dev/video12", "v4l2"),
        ("rtsp://cam.lan/1", "rtsp://cam.lan/1", None),
        ("RTSP://cam.lan/1", "rtsp://cam.lan/1", None),
        ("http://cam.lan/video.mjpg", "http://cam.lan/video.mjpg", None),
        ("udp://@:5000", "udp://@:5000", None),
    ],
)
def test_live_sources(source, text, device):
    address = Address.of(source)
    assert (address.text, address.device, address.live, address.path) == (text, device, True, None)


def test_files_and_folders_are_read_to_their_end(tmp_path):
    odd = tmp_path / "rtsp: gate@night.mp4"
    odd.touch()
    for path in (odd, tmp_path):
        address = Address.of(str(path))
        assert (address.path, address.live, address.shown) == (path, False, str(path))
        assert address.text == f"file:{path.resolve()}"


@pytest.mark.parametrize("source", ["nowhere.mp4", "ftp://me:s3cret@cam/1", "file:///etc/passwd", "concat:a|b", ""])
def test_anything_else_is_refused_without_its_login(source):
    with pytest.raises(ClapError, match=r"no such file and not a stream address|the address has no host") as caught:
        Address.of(source)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(ClapError, match=r"^videos/missing 1\.mp4: no such file"):
        Address.of("videos/missing 1.mp4")


@pytest.mark.parametrize("login", ["me:s3cret", "me:p@s3cret", "me:%733cret", "me:s3cret%2F1"])
def test_a_login_is_never_shown(login):
    shown = Address.of(f"rtsp://{login}@cam.lan:554/1?channel=2&password=s3cret").shown
    assert shown == "rtsp://cam.lan:554/1?channel=2&..."


@pytest.mark.parametrize("source", ["rtsp://cam/1", "http://cam/1", "srt://cam:9"])
def test_no_stream_may_lead_to_a_file_of_this_machine(source):
    options = Address.of(source).options(2.5)
    allowed = options["protocol_whitelist"].split(",")
    assert "file" not in allowed and "pipe" not in allowed and source.partition(":")[0] in allowed
    assert "2500000" in options.values()
