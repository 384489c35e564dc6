"""Folders of frames: which names form a series, in which order, and how the others are reported."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.video.frames import PICTURE_SUFFIXES, frames_among
from clap_vad.video.reader import VideoReader

N = range(1, 121)
SCHEMES = {
    "plain": [f"{n:04}.jpg" for n in N],
    "number without zeros": [f"img{n}.png" for n in N],
    "text behind the number": [f"frame_{n:04}_rgb.png" for n in N],
    "digits in the text": [f"{n:06}_leftImg8bit.png" for n in N],
    "a size behind the number": [f"frame_{n:04}_1920x1080.jpg" for n in N],
    "copies of Windows": [f"IMG ({n}).jpg" for n in N],
    "mixed formats and capitals": [f"IMG_{n:04}.{('jpg', 'JPG', 'webp', 'png')[n % 4]}" for n in N],
    "date and time": [f"2024-01-31T10-{n // 60:02}-{n % 60:02}.{n * 7 % 1000:03}.jpg" for n in range(300)],
    "compact date and time": [f"cam1_20240131_10{n // 60:02}{n % 60:02}.jpg" for n in range(300)],
    "time of day": [f"snap_{10 + n // 3600:02}-{n // 60 % 60:02}-{n % 60:02}.jpg" for n in range(3500, 3700)],
    "seconds since 1970": [f"{1706695200 + n // 5}.{n % 5 * 200:03}.jpg" for n in range(100)],
    "a counter that begins anew each day": [
        f"cam_{day}_{n:04}.jpg" for day in ("2023-12-31", "2024-01-01") for n in range(50)
    ],
    "parts that count on": [f"part{1 + (n > 60)}_{n:04}.jpg" for n in N],
    "another number behind the counter": [f"frame_{n:04}_{n * 13 % 7}.jpg" for n in N],
    "an address and a channel": [f"192.168.1.64_01_202401311000{n % 60:02}{n:03}_TIMING.jpg" for n in range(60)],
}


@pytest.mark.parametrize("names", SCHEMES.values(), ids=SCHEMES)
def test_every_usual_scheme_is_one_series_in_order(names):
    mixed = random.Random(0).sample(names, len(names))
    found = frames_among(mixed)
    assert list(found.files) == names
    assert (found.missing, found.note) == (None, None)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cam1_{:04}.jpg", "cam2_{:04}.jpg"),
        ("{:04}_cam1.jpg", "{:04}_cam2.jpg"),
        ("{:04}_left.png", "{:04}_right.png"),
        ("10.0.0.5_01_2024013110{:04}.jpg", "10.0.0.5_02_2024013110{:04}.jpg"),
    ],
)
def test_two_series_are_not_mixed_and_the_second_is_reported(first, second):
    names = [pattern.format(n) for n in range(1, 41) for pattern in (first, second)]
    found = frames_among(names)
    assert list(found.files) == [first.format(n) for n in range(1, 41)]
    assert "40 pictures of another series" in found.missing
    assert second.format(1) in found.missing


def test_what_does_not_belong_to_the_series_is_reported():
    names = [f"{n:04}.jpg" for n in N] + ["cover.png", "1.jpg", "shot.heic", ".0001.jpg", "notes.txt"]
    found = frames_among(names)
    assert len(found.files) == 120
    for told in ("cover.png", "1.jpg", "shot.heic"):
        assert told in found.missing
    assert "notes" not in found.missing and ".0001" not in found.missing


def test_a_picture_in_two_formats_counts_once():
    found = frames_among([f"{n:04}.jpg" for n in N] + [f"{n:04}.webp" for n in range(1, 30)])
    assert list(found.files) == [f"{n:04}.jpg" for n in N]
    assert found.missing is None and "29 pictures" in found.note


def test_mixed_formats_are_read_each_in_its_turn(tmp_path):
    readable = sorted(PICTURE_SUFFIXES - {".jfif", ".pbm", ".pgm", ".ras", ".sr"})
    for number, suffix in enumerate(readable, 1):
        written = tmp_path / f"{number:03}_x{suffix}"
        assert cv2.imwrite(str(written), np.full((32, 32, 3), 10 * number, np.uint8))
    (tmp_path / "plan.png").write_bytes((tmp_path / f"{readable.index('.png') + 1:03}_x.png").read_bytes())
    reader = VideoReader(tmp_path)
    assert [round(int(picture[16, 16]) / 10) for picture in reader] == list(range(1, len(readable) + 1))
    assert "plan.png" in reader.truncated


NAMES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "a", "cam1_", "cam2_", "IMG ("]),
    st.one_of(st.just(""), st.integers(0, 40).map(str), st.integers(0, 40).map("{:04}".format)),
    st.sampled_from(["", "_rgb", ")"]),
    st.sampled_from(sorted(PICTURE_SUFFIXES)),
).filter(lambda name: not name.startswith("."))


@given(st.sets(NAMES, max_size=40))
def test_every_picture_is_a_frame_or_counted_among_the_rest(names):
    found = frames_among(names)
    if not found.files:
        assert not any(any(sign.isdigit() for sign in name.rpartition(".")[0]) for name in names)
        return
    told = f"{found.missing or ''}; {found.note or ''}"
    rest = [int(part.split()[0]) for part in told.split("; ") if " picture" in part and part.split()[0].isdigit()]
    assert len(set(found.files)) == len(found.files) and set(found.files) <= names
    assert len(found.files) + sum(rest) == len(names), told
