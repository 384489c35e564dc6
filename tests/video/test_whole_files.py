"""Files that announce more pictures than they show, and are whole; and others that break off."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.video.completeness import breaks_off
from clap_vad.video.reader import VideoReader

FPS = 20


def seen(path: Path) -> tuple[int, VideoReader, np.ndarray, list[int]]:
    """How many pictures a file shows, its reader, their seconds and their greys."""
    reader = VideoReader(path)
    times, greys = [], []
    for picture in reader:
        times.append(reader.seconds)
        greys.append(round(float(picture.mean())))
    return len(times), reader, np.array(times), greys


def film(path: Path, numbers: list[int], *, codec: str = "mpeg4", **muxer: str) -> Path:
    """A film in which picture n, grey of 20 + n, is shown after n / 20 seconds; those left out are not there."""
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=FPS, options={"bf": "0", "g": "5", "qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + number, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_avi_leaves_out_pictures_that_repeat_the_one_before(tmp_path):
    numbers = [*range(20), 60, 61, 62, 90, 119]
    count, reader, times, greys = seen(film(tmp_path / "a.avi", numbers))
    assert (count, reader.fps, reader.truncated, reader.repairs.summary()) == (120, FPS, None, None)
    np.testing.assert_allclose(times, np.arange(120) / FPS, atol=1e-9)
    shown = [20 + max(number for number in numbers if number <= at) for at in range(120)]
    assert np.abs(np.array(greys) - shown).max() <= 4


def test_an_edit_list_hides_pictures_that_are_not_missing(tmp_path):
    path = film(tmp_path / "a.mov", list(range(120)))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4  # version and flags, count, then: length, where it starts in the media, rate
    assert struct.unpack(">II", data[at : at + 8]) == (0, 1)
    length, begins = struct.unpack(">Ii", data[at + 8 : at + 16])
    ticks = length // 6
    (scale,) = struct.unpack(">I", data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])
    data[at + 8 : at + 16] = struct.pack(">Ii", length - 2 * ticks, begins + scale)  # from 1 to 5 of 6 seconds
    path.write_bytes(data)
    count, reader, times, greys = seen(path)
    assert (count, reader.truncated) == (80, None)
    np.testing.assert_allclose(times, np.arange(80) / FPS, atol=1e-6)
    assert abs(greys[0] - 40) <= 2


@pytest.mark.parametrize("name", ["a.avi", "a.mp4", "a.mov"])
def test_a_file_that_breaks_off_says_how_much_of_it_is_there(tmp_path, name):
    path = film(tmp_path / name, list(range(120)), **({} if name == "a.avi" else {"movflags": "faststart"}))
    form = "avi" if name == "a.avi" else "mov,mp4,m4a,3gp,3g2,mj2"
    assert breaks_off(path, form) is False
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert breaks_off(path, form) is True
    count, reader, _, _ = seen(path)
    assert 10 < count < 120 and "of 120 declared frames are there" in reader.truncated


@pytest.mark.parametrize("data", [b"", b"RIFF", b"RIFF\0\0\0\0AVI ", b"\0\0\0\0mdat", b"\0\0\0\1mdat\0", b"\xff" * 40])
def test_what_is_no_such_file_breaks_nothing(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    assert breaks_off(tmp_path / "a", "avi") in (False, True)
    assert breaks_off(tmp_path / "a", "mov,mp4") in (False, True)
    assert breaks_off(tmp_path / "a", "matroska,webm") is None
