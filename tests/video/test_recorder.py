"""Clips are decoded again and compared with the pictures that were to be in them."""

from __future__ import annotations

import resource
from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.video.reader import VideoReader
from clap_vad.video.recorder import _LARGEST_PAST, START, Recorder

FPS = 25


@pytest.fixture
def reports() -> list[str]:
    return []


def numbered(count: int, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """Picture n is grey of 2 n."""
    return [np.full(size, 2 * n, np.uint8) for n in range(count)]


def numbers_in(clip: Path) -> list[int]:
    return [round(float(picture.mean()) / 2) for picture in VideoReader(clip)]


def starts_at(clip: Path) -> float:
    with av.open(str(clip)) as container:
        return float(container.metadata.get(START) or container.metadata[START.upper()])


def record(video: Path, recorder: Recorder, at: dict[int, object]) -> None:
    """Give a file's packets to the recorder; before packet n, ``at[n]()`` is called."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        recorder.connected(stream)
        for number, packet in enumerate(part for part in container.demux(stream) if part.size):
            if number in at:
                at[number]()
            recorder.add(packet.pts * float(packet.time_base), packet)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.mp4", "libx264", "yuv420p", {"g": "20", "bf": "0", "crf": "4", "sc_threshold": "0"}),
        ("a.avi", "mpeg4", "yuv420p", {"g": "20", "qscale": "2"}),
        ("a.avi", "mjpeg", "yuvj420p", {}),
        ("a.mkv", "libvpx", "yuv420p", {"g": "20", "deadline": "realtime", "b": "2000000"}),
    ],
)
def test_a_clip_starts_with_a_key_frame_before_and_holds_every_picture_until(
    tmp_path, render, reports, name, codec, pix_fmt, options
):
    video = render(tmp_path / name, numbered(110), codec=codec, pix_fmt=pix_fmt, options=options)
    recorder, clips = Recorder(3.0, reports.append), []
    record(
        video,
        recorder,
        {
            70: lambda: clips.append(recorder.begin(tmp_path / "clips", "one", 50 / FPS)),
            80: lambda: recorder.end(clips[0], 90 / FPS),
            100: lambda: clips.append(clips[0].exists()),
        },
    )
    clip, whole_before_the_stream_ends = clips
    assert reports == [] and whole_before_the_stream_ends
    assert clip.suffix == (".mkv" if codec == "libvpx" else ".mp4")
    with av.open(str(video)) as container:
        keys = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    first = max(number for number in keys if number <= 50)
    np.testing.assert_array_equal(list(VideoReader(clip)), list(VideoReader(video))[first:91])
    assert starts_at(clip) == pytest.approx(first / FPS, abs=0.041)
    assert [path.name for path in clip.parent.iterdir()] == [clip.name]


def test_b_frames_of_a_file_neither_shift_the_start_nor_lose_the_end(tmp_path, render, reports):
    video = render(tmp_path / "a.mp4", numbered(110), options={"g": "20", "bf": "3", "crf": "4", "sc_threshold": "0"})
    recorder, reader, clip = Recorder(3.0, reports.append), VideoReader(video), None
    reader.tap(recorder)
    for number, _ in enumerate(reader):
        if number == 70:
            clip = recorder.begin(tmp_path, "clip", 59 / FPS)  # the key frame of picture 60 is too late
        if number == 80:
            recorder.end(clip, 90 / FPS)
    recorder.close()
    found = np.array(list(VideoReader(clip)))
    np.testing.assert_array_equal(found[:51], list(VideoReader(video))[40:91])
    assert len(found) < 60 and reports == []


def test_a_clip_can_be_begun_after_a_file_was_read_to_its_end(tmp_path, render, reports):
    """What is scored lags behind what is read; the file is closed then, and its stream must not be touched."""
    reader, recorder = VideoReader(render(tmp_path / "a.mp4", numbered(60))), Recorder(1.0, reports.append)
    reader.tap(recorder)
    assert len(list(reader)) == 60
    clip = recorder.begin(tmp_path, "late", 50 / FPS)
    recorder.end(clip, 100.0)
    recorder.close()
    assert numbers_in(clip)[-1] == 59 and reports == []


def test_times_that_restart_continue_in_the_clip(tmp_path, render, reports):
    one, two = (
        render(tmp_path / f"{k}.ts", numbered(60)[30 * k : 30 * k + 30], options={"bf": "0", "g": "10"}) for k in (0, 1)
    )
    both = tmp_path / "both.ts"
    both.write_bytes(two.read_bytes() + one.read_bytes() + one.read_bytes())
    recorder, clips = Recorder(5.0, reports.append), []
    with av.open(str(both)) as container:
        stream = container.streams.video[0]
        recorder.connected(stream)
        for number, packet in enumerate(part for part in container.demux(stream) if part.size):
            recorder.add(number / FPS, packet)
            if number == 5:
                clips.append(recorder.begin(tmp_path, "clip", 0.0))
            if number == 70:  # in the third recording
                recorder.end(clips[0], 80 / FPS)
        assert clips[0].exists()  # ended in time
    recorder.close()
    with av.open(str(clips[0])) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert reports == []
    np.testing.assert_allclose(np.diff(times), 1 / FPS, atol=0.005)


def test_the_past_is_bounded_in_seconds_and_in_bytes(tmp_path, render, reports):
    video = render(tmp_path / "a.avi", numbered(3), codec="mjpeg", pix_fmt="yuvj420p")
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        small = next(container.demux(stream))
        recorder = Recorder(2.0, reports.append)
        recorder.connected(stream)
        for number in range(20_000):
            recorder.add(number / FPS, small)
        assert len(recorder._kept) <= 15 * FPS
        small.is_keyframe = False
        for number in range(20_000, 24_500):  # no key frame comes any more: the last one is kept, however long ago
            recorder.add(number / FPS, small)
        assert len(recorder._kept) > 4_500
        large = av.Packet(5 << 20)
        large.is_keyframe, large.time_base, large.pts = True, small.time_base, 0
        for number in range(40):
            recorder.add(981 + number / FPS, large)
            assert recorder._bytes == sum(packet.size for _, packet in recorder._kept) <= _LARGEST_PAST


@pytest.mark.parametrize("fault", ["one far ahead", "one far behind", "jump", "shown far ahead"])
def test_false_stamps_neither_stretch_a_clip_nor_end_it(tmp_path, render, reports, fault):
    video = render(tmp_path / "a.mp4", numbered(110), options={"bf": "0", "g": "20", "crf": "4"})
    recorder = Recorder(3.0, reports.append)
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        recorder.connected(stream)
        ticks = round(1 / (FPS * stream.time_base))
        clip = None
        for number, packet in enumerate(part for part in container.demux(stream) if part.size):
            came = number / FPS
            far = {"one far ahead": 37_600, "one far behind": -9_000, "shown far ahead": 500}.get(fault, 37_600)
            false = number >= 60 if fault == "jump" else number % 30 == 15
            packet.pts = packet.dts = number * ticks
            if false:
                packet.pts += far * FPS * ticks
                packet.dts = packet.dts if fault == "shown far ahead" else packet.pts
            if number == 40:
                clip = recorder.begin(tmp_path / "clips", "one", 1.0)
            if number == 80:
                recorder.end(clip, 85 / FPS)
            recorder.add(came, packet)
    assert reports == [] and clip.exists()
    with av.open(str(clip)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) >= 60
    np.testing.assert_allclose(np.diff(times), 1 / FPS, atol=0.021)


def test_nothing_can_be_recorded_without_a_stream_or_a_key_frame(tmp_path, reports):
    recorder = Recorder(2.0, reports.append)
    assert recorder.begin(tmp_path, "clip", 0.0) is None
    recorder.end(tmp_path / "clip.mp4", 1.0)
    recorder.close()
    assert reports == ["clip: no clip of this event, no recordable stream is connected"]
    assert list(tmp_path.iterdir()) == []


def test_a_key_frame_minutes_back_begins_a_clip_and_one_beyond_the_bound_is_reported(tmp_path, render, reports):
    video = render(tmp_path / "a.mp4", numbered(110), options={"bf": "0", "g": "1000", "sc_threshold": "0"})
    recorder, clips = Recorder(2.0, reports.append), []
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        recorder.connected(stream)
        for number, packet in enumerate(part for part in container.demux(stream) if part.size):
            recorder.add(2.0 * number, packet)  # key frames 220 s apart
        clips.append(recorder.begin(tmp_path, "one", 200.0))
        recorder.end(clips[0], 0.0)
        recorder.close()
        assert reports == [] and len(numbers_in(clips[0])) == 110
        recorder.connected(stream)
        large = av.Packet(5 << 20)
        large.time_base = stream.time_base
        for number in range(40):
            large.is_keyframe, large.pts = number == 0, number
            recorder.add(1000.0 + number, large)
            large = av.Packet(5 << 20)
            large.time_base = stream.time_base
        assert recorder.begin(tmp_path, "two", 1039.0) is None
    (sentence,) = reports
    assert sentence.startswith("two: no clip of this event, the last key frame is more than 64 MB ago")


def test_a_folder_that_cannot_be_made_is_reported_and_the_next_clip_is_written(tmp_path, render, reports):
    (tmp_path / "a file").touch()
    recorder, clips = Recorder(2.0, reports.append), []
    record(
        render(tmp_path / "a.mp4", numbered(30), options={"bf": "0"}),
        recorder,
        {
            9: lambda: clips.append(recorder.begin(tmp_path / "a file", "one", 0.0)),
            12: lambda: clips.append(recorder.begin(tmp_path, "two", 0.0)),
        },
    )
    recorder.close()
    assert clips[0] is None and len(numbers_in(clips[1])) == 30
    (sentence,) = reports
    assert sentence.startswith(f"{tmp_path / 'a file' / 'one.mp4'}: cannot write this clip")


def test_a_full_disk_is_reported_leaves_no_file_and_does_not_stop_the_stream(tmp_path, render, reports):
    """A limit of file size stands for the full disk: the system refuses to write in the same way."""
    noise = [np.random.default_rng(n).integers(0, 256, (240, 320), dtype=np.uint8) for n in range(60)]
    video = render(tmp_path / "a.avi", noise, codec="mjpeg", pix_fmt="yuvj420p", options={"qscale": "2"})
    recorder, clips = Recorder(5.0, reports.append), []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
        clips.append(recorder.begin(tmp_path / "clips", "one", 0.0))

    try:
        record(video, recorder, {2: limit})
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (sentence,) = reports
    assert sentence.startswith(f"{tmp_path / 'clips' / 'one.mp4'}: cannot write this clip")
    assert list((tmp_path / "clips").iterdir()) == []
