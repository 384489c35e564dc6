from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.synthetic.camera import Camera

CAMERAS = st.builds(
    Camera,
    width=st.sampled_from([160, 320]),
    height=st.sampled_from([120, 240]),
    elevation=st.floats(2, 10),
    pitch=st.floats(5, 85),
    yaw=st.floats(-40, 40),
    focal=st.floats(0.5, 2),
)


@given(CAMERAS)
def test_axes_are_orthonormal(camera: Camera) -> None:
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)


@given(CAMERAS, st.floats(0, 0.999), st.floats(0, 0.999))
def test_a_ray_projects_back_to_the_pixel_it_was_cast_through(camera: Camera, across: float, down: float) -> None:
    rays = camera.rays(1)
    row, column = int(down * camera.height), int(across * camera.width)
    pixel, depth = camera.project(camera.origin + 7.0 * rays[row, column])
    np.testing.assert_allclose(pixel, [column + 0.5, row + 0.5], atol=1e-6)
    assert depth == pytest.approx(7.0)


def test_ground_below_the_optical_axis_lies_in_the_middle() -> None:
    camera = Camera(320, 240, elevation=6.0, pitch=30.0)
    pixel, depth = camera.project(np.array([0.0, 6.0 / math.tan(math.radians(30)), 0.0]))
    np.testing.assert_allclose(pixel, [160, 120], atol=1e-9)
    assert depth == pytest.approx(12.0)
