"""Pictures that come in slices, with packets as RTSP was seen to give them (``tests/monitoring/rtsp_server.py``)."""

from __future__ import annotations

import io
import itertools
from fractions import Fraction

import av
import pytest

from clap_vad.video.packets import copied, whole_pictures

STREAM = av.open(io.BytesIO(), "w", format="nut").add_stream("libx264", rate=25)


def packet(data: bytes, pts: int | None, key: bool = False) -> av.Packet:
    made = av.Packet(data)
    made.pts = made.dts = pts
    made.stream = STREAM
    made.is_keyframe, made.time_base = key, Fraction(1, 90_000)
    return made


def put_together(*packets):
    return [
        (when, bytes(whole), whole.pts, bool(whole.is_keyframe)) for when, whole in whole_pictures(enumerate(packets))
    ]


def test_slices_of_one_time_are_one_picture_at_the_hour_of_the_first():
    sent = [packet(b"a", 0, True), packet(b"b", 0), packet(b"c", 9), packet(b"d", 18), packet(b"e", 18)]
    assert put_together(*sent) == [(0, b"ab", 0, True), (2, b"c", 9, False), (3, b"de", 18, False)]


def test_the_first_without_a_time_belongs_to_the_key_frame_that_follows():
    sent = [packet(b"a", None, True), packet(b"b", 0, True), packet(b"c", 3600)]
    assert put_together(*sent) == [(0, b"ab", 0, True), (2, b"c", 3600, False)]


def test_the_first_without_a_time_stays_a_picture_of_its_own_before_another():
    sent = [packet(b"a", None, True), packet(b"b", 3600), packet(b"c", 7200)]
    assert put_together(*sent) == [(0, b"a", 3599, True), (1, b"b", 3600, False), (2, b"c", 7200, False)]


def test_packets_without_any_time_and_the_empty_one_at_the_end_are_left_alone():
    sent = [packet(b"a", None), packet(b"b", None), packet(b"", None)]
    assert [data for _, data, _, _ in put_together(*sent)] == [b"a", b"b", b""]
    assert put_together() == []


def test_a_copy_leaves_the_packet_as_it_is():
    original = packet(b"abc", 5, True)
    copy = copied(original, b"xyz")
    copy.pts = 77
    assert (bytes(original), original.pts) == (b"abc", 5)
    assert (bytes(copy), copy.dts, copy.time_base, copy.is_keyframe) == (b"xyz", 5, original.time_base, True)


@pytest.mark.parametrize("slices", [1, 4])
def test_an_encoders_slices_decode_to_its_pictures(tmp_path, render, moving, slices):
    options = {"x264-params": f"slices={slices}:bframes=0:threads=1:sliced-threads=0", "g": "10"}
    with av.open(str(render(tmp_path / "a.h264", moving(30, 96, 128), options=options))) as container:
        units = []
        for number, whole in enumerate(part for part in container.demux(video=0) if part.size):
            nals = bytes(whole).split(b"\x00\x00\x01")
            vcl = [at for at, nal in enumerate(nals) if nal and nal[0] & 31 in (1, 5)]
            cuts = [0, *vcl[1:], len(nals)]
            for a, b in itertools.pairwise(cuts):
                data = b"".join(b"\x00\x00\x01" + nal for nal in nals[a:b] if nal)
                units.append(packet(data, 3600 * number, whole.is_keyframe))
    assert len(units) == 30 * slices
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for _, whole in whole_pictures(enumerate(units)) for frame in decoder.decode(whole)]
    assert len(frames) + len(decoder.decode(None)) == 30
