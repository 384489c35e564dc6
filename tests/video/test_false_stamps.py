"""Files whose time stamps are wrong in the ways that muxers and cameras get them wrong, through a real decoder."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.video.reader import VideoReader

COUNT, FPS = 120, 20


def film(path: Path, pts: Callable[[int], int | None], *, codec: str = "mpeg4", base: int = 1000, **muxer: str) -> Path:
    """A film of grey pictures, each a little brighter; ``pts`` gives the stamp of each in 1 / ``base`` seconds."""
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=FPS, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        packets = []
        for number in range(COUNT):
            picture = np.full((48, 64, 3), 40 + number, np.uint8)
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24"))
        packets += stream.encode(None)
        container.start_encoding()
        for number, packet in enumerate(packets):
            packet.time_base = Fraction(1, base)
            stamp = pts(number)
            packet.dts = number * base // FPS
            packet.pts = packet.dts if stamp is None else stamp
            packet.stream = stream
            container.mux(packet)
    return path


def shown(path: Path, **options: float) -> tuple[np.ndarray, VideoReader]:
    """Seconds of the pictures of a file, and its reader."""
    reader = VideoReader(path, **options)
    return np.array([reader.seconds for _ in reader]), reader


def restamped(path: Path, change: Callable[[int, int], int]) -> Path:
    """A transport stream with other presentation and decoding stamps, (picture, stamp) -> stamp in 1/90000 s."""
    data, number = bytearray(path.read_bytes()), 0
    for at in range(0, len(data), 188):
        if not data[at + 1] & 0x40 or ((data[at + 1] & 31) << 8 | data[at + 2]) != 0x100:
            continue
        start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
        flags = data[start + 7] >> 6
        for field in range(bin(flags).count("1")):
            place = start + 9 + 5 * field
            value = change(number, _stamp(data[place : place + 5])) % (1 << 33)
            data[place : place + 5] = _stamped(data[place] >> 4, value)
        number += 1
    assert number == COUNT
    path.write_bytes(data)
    return path


def _stamp(field: bytes) -> int:
    """Of the 33 bits of ISO/IEC 13818-1, 2.4.3.6."""
    return (field[0] >> 1 & 7) << 30 | field[1] << 22 | (field[2] >> 1) << 15 | field[3] << 7 | field[4] >> 1


def _stamped(mark: int, value: int) -> bytes:
    low = (value >> 15 & 127) << 1 | 1, value >> 7 & 255, (value & 127) << 1 | 1
    return bytes([mark << 4 | (value >> 30 & 7) << 1 | 1, value >> 22 & 255, *low])


SECOND = 90_000
EVEN = np.arange(COUNT) / FPS


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        (lambda k, v: v, None),
        (lambda k, v: v + 37_600 * SECOND * (k == 60), "1 time stamp far from"),
        (lambda k, v: v + 37_600 * SECOND * (k % 40 == 20), "3 time stamps far from"),
        (lambda k, v: v + 200 * SECOND - 90 * SECOND * (k == 60), "1 time stamp far from"),
        (lambda k, v: v + 500 * SECOND - (v + 500 * SECOND) * (k in (60, 100)), "2 time stamps far from"),
        (lambda k, v: v + 3 * SECOND * (k == 60), "1 time stamp far from"),
        (lambda k, v: v + 37_600 * SECOND * (k < 60), "restart 1 time"),
        (lambda k, v: v + 37_600 * SECOND * (k >= 60), "restart 1 time"),
        (lambda k, v: v + (1 << 33) - 3 * SECOND, ""),  # they wrap; some releases of FFmpeg undo it
        (lambda k, v: v + 37_600 * SECOND * (k == COUNT - 1), "1 time stamp far from"),
        (lambda k, v: v + 37_600 * SECOND * (k == 0), ""),
    ],
)
def test_a_transport_stream_is_timed_as_it_was_taken(tmp_path, change, summary):
    even = film(tmp_path / "a.ts", lambda k: None, codec="mpeg2video")
    seconds, reader = shown(restamped(even, change))
    np.testing.assert_allclose(seconds, EVEN, atol=0.06)
    assert reader.fps == FPS and reader.truncated is None
    assert summary == "" or (summary is None) == (reader.repairs.summary() is None)
    assert not summary or summary in reader.repairs.summary()


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.nut"])
def test_one_stamp_far_ahead_is_one_picture_s_fault_in_any_container(tmp_path, name):
    path = film(tmp_path / name, lambda k: 1_000_000 if k == 60 else None)
    seconds, reader = shown(path)
    np.testing.assert_allclose(seconds, EVEN, atol=0.06)
    assert reader.fps == FPS and "1 time stamp far from" in reader.repairs.summary()


@pytest.mark.parametrize("guess", [100, 1000])
@pytest.mark.parametrize("fps", [0.2, 1, 5, 12.5, 29.97, 60, 120])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_the_rate_comes_from_the_stamps_where_the_container_does_not_know_it(tmp_path, name, fps, guess):
    jitter = np.random.default_rng(0).uniform(-0.3, 0.3, COUNT)
    base = 1000 if name == "a.mkv" else 90_000
    stamps = np.rint((np.arange(COUNT) + 1 + jitter) / fps * base).astype(int).tolist()
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=guess, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), "rgb24")
            for packet in stream.encode(frame):
                packet.time_base, packet.pts, packet.dts = Fraction(1, base), stamp, stamp
                container.mux(packet)
    extraction = make_extractor("motion", {"rows": 2, "cols": 2}).extract(path)
    assert sum(len(block.features) for block in extraction) == -(-COUNT // 16)
    assert extraction.ending.fps == pytest.approx(fps, rel=0.03)
    times = (np.array(stamps) - stamps[0]) / base
    account = extraction.ending.times
    found = np.arange(0, COUNT, 16) / extraction.ending.fps if account is None else account.start(range(0, COUNT, 16))
    np.testing.assert_allclose(found, times[::16], atol=0.6 / fps)
