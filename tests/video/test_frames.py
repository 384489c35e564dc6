"""Which pictures of a folder are a video: naming schemes, mixed formats, several series, doubles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.video.frames import PICTURE_SUFFIXES, frames_among
from clap_vad.video.reader import VideoReader

SCHEMES = {
    "plain": "{:04}.jpg",
    "no zeros": "{}.jpg",
    "prefix": "frame_{:06}.png",
    "copies": "IMG ({}).jpg",
    "number in the middle": "frame_{:04}_rgb.png",
    "cityscapes": "{:06}_leftImg8bit.png",
    "with a scene": "scene3_{:04}.jpg",
    "time": "2024-01-31T10-00-{:02}.123.jpg",
    "seconds since 1970": "17067000{:02}.500000.jpg",
    "capitals": "IMG_{:04}.JPG",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_usual_naming_schemes_are_one_video_in_order(scheme):
    names = [SCHEMES[scheme].format(number) for number in range(1, 41)]
    found = frames_among(np.random.default_rng(0).permutation(names).tolist())
    assert list(found.files) == names and found.missing is None and found.note is None


def test_mixed_formats_are_one_video():
    names = [f"{number:04}.{('jpg', 'webp', 'png', 'tiff')[number % 4]}" for number in range(40)]
    assert list(frames_among(names[::-1]).files) == names


def test_what_is_no_frame_is_named():
    found = frames_among([*(f"{n:04}.jpg" for n in range(9)), "cover.jpg", "0003.png", "cam2_01.jpg", "x.heic"])
    assert len(found.files) == 9 and "0003.jpg" in found.files
    for words in (
        "1 picture (cam2_01.jpg) is of another series left out; give each series a folder of its own",
        "1 picture without a number is left out (cover.jpg)",
        "in a format that is not read is left out (x.heic)",
    ):
        assert words in found.missing
    assert found.note == "1 picture (0003.png) is there a second time in another format"


def test_of_two_series_the_longer_one_is_the_video_and_the_other_is_named():
    found = frames_among([*(f"cam1_{n:04}.jpg" for n in range(10)), *(f"cam2_{n:04}.jpg" for n in range(14))])
    assert found.files == tuple(f"cam2_{n:04}.jpg" for n in range(14))
    assert "10 pictures (the first is cam1_0000.jpg) are of another series left out" in found.missing


NAMES = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "a", "cam1_", "cam2_", "IMG ("]),
    st.one_of(st.just(""), st.integers(0, 40).map(str), st.integers(0, 40).map("{:04}".format)),
    st.sampled_from(["", "_rgb", ")"]),
    st.sampled_from(sorted(PICTURE_SUFFIXES)),
)


@given(st.sets(NAMES, max_size=40))
def test_every_picture_is_a_frame_or_counted_among_the_rest(names):
    found = frames_among(names)
    if not found.files:
        assert not any(any(sign.isdigit() for sign in name.rpartition(".")[0]) for name in names)
        return
    told = f"{found.missing or ''}; {found.note or ''}"
    counted = [int(word) for word in told.replace("(", " ").split() if word.isdigit()]
    pictures = [int(part.split()[0]) for part in told.split("; ") if " picture" in part and part.split()[0].isdigit()]
    assert len(set(found.files)) == len(found.files) and set(found.files) <= names
    assert len(found.files) + sum(pictures) == len(names), (told, counted)


def test_a_folder_of_mixed_formats_is_read_whole(tmp_path):
    for number in range(20):
        suffix = ("jpg", "webp", "png")[number % 3]
        cv2.imwrite(str(tmp_path / f"{number:04}.{suffix}"), np.full((32, 48), 10 * number, np.uint8))
    reader = VideoReader(tmp_path)
    greys = [float(picture.mean()) for picture in reader]
    np.testing.assert_allclose(greys, 10 * np.arange(20), atol=3)
    assert reader.truncated is None
