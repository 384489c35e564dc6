"""Decoding: compared with FFmpeg's own conversion, on files of several encoders, sizes and kinds of damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.video.names import frame_files, is_video
from clap_vad.video.reader import VideoReader


def decoded_by_ffmpeg(path: Path, format: str = "gray") -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=format) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "size"),
    [
        ("a.mp4", "libx264", "yuv420p", (90, 160)),
        ("a.mp4", "libx264", "yuv444p", (51, 35)),
        ("a.avi", "mpeg4", "yuv420p", (66, 98)),
        ("a.avi", "mjpeg", "yuvj420p", (37, 53)),
        ("a.mkv", "ffv1", "gray", (41, 77)),
        ("a.mkv", "ffv1", "yuv420p10le", (40, 64)),
        ("a.mkv", "ffv1", "bgr0", (40, 64)),
    ],
)
def test_grey_pictures_equal_ffmpegs_own_conversion(tmp_path, render, moving, name, codec, pix_fmt, size):
    path = render(tmp_path / name, moving(7, *size), codec=codec, pix_fmt=pix_fmt)
    reader = VideoReader(path)
    pictures = list(reader)
    expected = decoded_by_ffmpeg(path)
    assert len(pictures) == len(expected) == 7
    for ours, theirs in zip(pictures, expected, strict=True):
        # full-range colour formats go through another table in FFmpeg; one grey level is rounding
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert reader.shape == size
    assert reader.fps == 25
    assert reader.truncated is None


def test_colour_pictures_equal_ffmpegs_own(tmp_path, render):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32, 0], picture[:, 32:, 2] = 200, 200
    path = render(tmp_path / "colour.mp4", [picture] * 3)
    for ours, theirs in zip(VideoReader(path, colour=True), decoded_by_ffmpeg(path, "rgb24"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_pictures_are_shrunk_to_the_longer_side_and_never_enlarged(tmp_path, render, moving):
    path = render(tmp_path / "a.mp4", moving(2, 120, 160))
    assert {picture.shape for picture in VideoReader(path, side=40)} == {(30, 40)}
    assert {picture.shape for picture in VideoReader(path, side=4000)} == {(120, 160)}


def test_variable_frame_rate(tmp_path, render, moving):
    stamps = [0, 1, 2, 10, 11, 25, 26, 40, 41, 50]
    path = render(tmp_path / "a.mp4", moving(10), times=stamps)
    reader = VideoReader(path)
    assert len(list(reader)) == 10
    assert reader.fps == pytest.approx(
        10 / 2.04, rel=0.2
    )  # ten pictures in two seconds, the last one's length is a guess


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotation_noted_in_the_file_is_undone(tmp_path, render, texture, rotation, turns):
    upright = texture(64, 96)
    path = render(tmp_path / "phone.mp4", [upright] * 2, rotation=rotation)
    shown = next(iter(VideoReader(path)))
    assert shown.shape == np.rot90(upright, turns).shape
    assert np.abs(shown.astype(int) - np.rot90(upright, turns)).mean() < 4


def test_size_that_changes_in_mid_stream_is_scaled_to_the_first(tmp_path, render, moving):
    first = render(tmp_path / "a.h264", moving(5, 64, 96))
    second = render(tmp_path / "b.h264", moving(4, 128, 128))
    joined = tmp_path / "joined.h264"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    pictures = list(VideoReader(joined))
    assert len(pictures) == 9
    assert {picture.shape for picture in pictures} == {(64, 96)}


def write_frames(folder: Path, pictures: list[np.ndarray], pattern: str = "{}.png") -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures, start=1):
        assert cv2.imwrite(str(folder / pattern.format(number)), picture)
    return folder


def test_folder_of_frames_in_order_of_numbers(tmp_path):
    flat = [np.full((24, 32), 20 * k, np.uint8) for k in range(1, 12)]
    folder = write_frames(tmp_path / "clip 7", flat, "frame{}.png")
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden1.png").write_bytes(b"x")
    assert is_video(folder)
    assert [file.name for file in frame_files(folder)][:3] == ["frame1.png", "frame2.png", "frame3.png"]
    reader = VideoReader(folder)
    assert [int(picture[0, 0]) for picture in reader] == [20 * k for k in range(1, 12)]
    assert (reader.fps, reader.stated) == (25, False)


def test_broken_picture_repeats_the_one_before_so_that_frame_numbers_agree(tmp_path):
    folder = write_frames(tmp_path / "clip", [np.full((24, 32), 50 * k, np.uint8) for k in range(1, 5)])
    (folder / "3.png").write_bytes(b"\x89PNG broken")
    reader = VideoReader(folder)
    assert [int(picture[0, 0]) for picture in reader] == [50, 100, 100, 200]
    assert reader.truncated == "1 picture could not be read, the first is 3.png"


def test_truncated_file_gives_what_can_be_decoded_and_says_so(tmp_path, render, moving):
    whole = render(tmp_path / "whole.mp4", moving(100), muxer={"movflags": "faststart"})
    data = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: len(data) * 2 // 3])
    reader = VideoReader(cut)
    frames = len(list(reader))
    assert 20 < frames < 90
    assert reader.truncated is not None
    assert "of 100 declared frames" in reader.truncated


def test_truncated_matroska_is_noticed_by_its_duration(tmp_path, render, moving):
    data = render(tmp_path / "whole.mkv", moving(200)).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    reader = VideoReader(cut)
    assert 5 < len(list(reader)) < 150
    assert reader.truncated is not None
    assert "of 8.0 declared seconds" in reader.truncated


def test_damage_in_the_middle_is_stepped_over_and_reported(tmp_path, render, moving):
    path = render(tmp_path / "whole.avi", moving(120), codec="mpeg4", options={"g": "12"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(data))
    assert 80 < len(list(VideoReader(path))) <= 120


def test_unusable_files_are_refused_with_the_reason(tmp_path, render, moving, render_sound):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8).tobytes())
    render_sound(tmp_path / "sound.mp4")
    render_sound(tmp_path / "sound.wav")
    (tmp_path / "no_frames").mkdir()
    whole = render(tmp_path / "whole.mp4", moving(50)).read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: len(whole) // 2])  # its index was at the end
    expected = {
        "empty.mp4": "the file is empty",
        "random.mp4": "cannot be read as a video",
        "sound.mp4": "contains no video stream",
        "sound.wav": "contains no video stream",
        "no_frames": "no numbered pictures",
        "headless.mp4": "cannot be read as a video",
        "missing.mp4": "no such file",
    }
    for name, reason in expected.items():
        with pytest.raises(ClapError, match=reason) as caught:
            list(VideoReader(tmp_path / name))
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["cam:1 – Straße 5%d.mp4", "%03d.mp4", "a'b\"c.mp4"])
def test_names_are_never_taken_for_addresses_or_patterns(tmp_path, render, moving, name):
    path = shutil.copy(render(tmp_path / "plain.mp4", moving(3)), tmp_path / name)
    assert len(list(VideoReader(Path(path)))) == 3


def test_sound_is_tried_only_where_no_video_of_its_name_stands_beside_it(tmp_path):
    for name in ("a.mp4", "a.wav", "b.wav", "c.txt"):
        (tmp_path / name).touch()
    assert [name for name in ("a.mp4", "a.wav", "b.wav", "c.txt") if is_video(tmp_path / name)] == ["a.mp4", "b.wav"]


def test_a_picture_that_is_a_link_out_of_its_folder_is_not_read(tmp_path):
    folder = tmp_path / "gate"
    folder.mkdir()
    for number in (1, 2, 3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8), 10 * number, np.uint8))
    cv2.imwrite(str(tmp_path / "secret.png"), np.full((8, 8), 200, np.uint8))
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to(tmp_path / "secret.png")
    (folder / "4.png").symlink_to("3.png")
    reader = VideoReader(folder)
    assert [int(picture[0, 0]) for picture in reader] == [10, 10, 30, 30]
    assert reader.truncated == ("1 picture could not be read, the first is 2.png; links out of the folder are not read")
    for number in (1, 3, 4):
        (folder / f"{number}.png").unlink()
    with pytest.raises(ClapError, match="gate: its pictures are links out of the folder, which are not read"):
        list(VideoReader(folder))


def test_a_picture_of_a_terabyte_is_not_taken_into_memory(tmp_path):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((8, 8), 10 * number, np.uint8))
    with (tmp_path / "3.png").open("wb") as handle:
        handle.truncate(1 << 40)  # a hole, which takes no room on the disk
    reader = VideoReader(tmp_path)
    assert [int(picture[0, 0]) for picture in reader] == [10, 20, 20]
    assert reader.truncated == "1 picture could not be read, the first is 3.png"
