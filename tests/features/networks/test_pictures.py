"""Resizing, crops and scaling against slow loops and the formulas of the papers' code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clap_vad.features.networks.pictures import BILINEAR, LANCZOS, centre_crop, resize, scaled, shorter_side, ten_crops


@pytest.fixture
def clip():
    return np.random.default_rng(0).integers(0, 256, (2, 256, 341, 3), dtype=np.uint8)


def test_ten_crops_are_a_slow_loop_over_corners_and_centre(clip):
    height, width, side = 256, 341, 224
    corners = [(0, 0), (0, width - side), (height - side, 0), (height - side, width - side), (16, 58)]
    slow = np.zeros((10, 2, side, side, 3), np.uint8)
    for place, (top, left) in enumerate(corners):
        for y in range(side):
            slow[place, :, y] = clip[:, top + y, left : left + side]
            for x in range(side):
                slow[5 + place, :, y, x] = clip[:, top + y, width - 1 - left - x]
    crops = ten_crops(clip, side)
    assert len(crops) == 10
    for got, expected in zip(crops, slow, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_centre_is_the_published_one():
    """Rows 16..239 and columns 58..281 of 256 x 340, as the extractors of the I3D features write it out."""
    rows = np.broadcast_to(np.arange(256, dtype=np.int64)[:, None, None], (256, 340, 3))
    columns = np.broadcast_to(np.arange(340, dtype=np.int64)[None, :, None], (256, 340, 3))
    assert centre_crop(rows, 224, 224)[:, 0, 0].tolist() == list(range(16, 240))
    assert centre_crop(columns, 224, 224)[0, :, 0].tolist() == list(range(58, 282))


@pytest.mark.parametrize(("mean", "deviation"), [((127.5,) * 3, (127.5,) * 3), ((114.75, 100, 90), (57.375, 50, 40))])
def test_scaling_is_the_formula(mean, deviation):
    values = np.arange(256 * 3, dtype=np.uint8).reshape(256, 3)
    got = scaled(torch.from_numpy(values), mean, deviation).numpy()
    np.testing.assert_allclose(got, (values - np.array(mean)) / np.array(deviation), rtol=1e-6, atol=1e-6)
    if mean[0] == 127.5:
        np.testing.assert_allclose(got, values.astype(float) * 2 / 255 - 1, atol=1e-6)


def test_shrinking_takes_in_every_pixel():
    """Antialiased: shrunk eightfold, stripes of one pixel become their mean; without it they would stay stripes."""
    stripes = np.repeat(np.tile(np.array([0, 200], np.uint8), 160)[None, :, None], 240, axis=0).repeat(3, axis=2)
    for resample in (BILINEAR, LANCZOS):
        small = resize(stripes, 40, 30, resample)
        assert small.shape == (30, 40, 3)
        assert abs(small[3:-3, 3:-3].astype(int) - 100).max() <= 6
    assert resize(stripes, 320, 240) is stripes


@pytest.mark.parametrize(
    ("shape", "expected"), [((240, 320), (341, 256)), ((576, 720), (320, 256)), ((90, 30), (256, 768))]
)
def test_the_shorter_side_keeps_the_shape_of_the_picture(shape, expected):
    width, height = shorter_side(shape, 256)
    assert (width, height) == expected
    assert width / height == pytest.approx(shape[1] / shape[0], abs=1 / 256)
