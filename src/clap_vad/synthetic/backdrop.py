"""The background of a site: textured planes and boxes, rendered once through the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .textures import Texture

__all__ = ["Backdrop", "Plane", "box", "cast"]

_OVERSAMPLE = 2
_SUN = np.array([0.85, 0.7, 1.0])  # brightness of faces whose normal is x, y and z


@dataclass(frozen=True)
class Plane:
    """A rectangle at ``offset`` metres on one axis.

    Attributes:
        axis: 0, 1 or 2, the direction of its normal.
        offset: its position on that axis.
        low, high: bounds on the two other axes, in x, y, z order.
        texture: colour as a function of the two other coordinates.
        hides: whether it hides people behind it (the ground does not).
    """

    axis: int
    offset: float
    low: tuple[float, float]
    high: tuple[float, float]
    texture: Texture
    hides: bool = False


def box(low: tuple[float, float, float], high: tuple[float, float, float], side: Texture, top: Texture) -> list[Plane]:
    """An upright box (pillar, planter, crate) of six faces that hides people behind it."""
    planes = []
    for axis in range(3):
        first, second = (i for i in range(3) if i != axis)
        bounds = (low[first], low[second]), (high[first], high[second])
        texture = top if axis == 2 else side
        planes += [Plane(axis, end[axis], *bounds, texture, hides=True) for end in (low, high)]
    return planes


@dataclass(frozen=True)
class Backdrop:
    """The picture of an empty site.

    Attributes:
        picture: (height, width, 3) float32 RGB in 0..255.
        hiding: (height, width) float32 depth in metres of the nearest object that hides people, infinity elsewhere.
    """

    picture: np.ndarray
    hiding: np.ndarray


def cast(camera: Camera, planes: list[Plane], sky: tuple[float, float, float]) -> Backdrop:
    """Cast one ray per (sub)pixel. The nearest plane gives the colour; without a plane it is the sky."""
    rays = camera.rays(_OVERSAMPLE).reshape(-1, 3)
    nearest = np.full(len(rays), np.inf)
    hiding = np.full(len(rays), np.inf)
    picture = np.asarray(sky) * np.clip(1 + 0.5 * rays[:, 2:], 0.6, 1.4)
    for plane in planes:
        with np.errstate(divide="ignore"):
            depth = (plane.offset - camera.origin[plane.axis]) / rays[:, plane.axis]
        ahead = np.flatnonzero((depth > 0.05) & (depth < nearest))
        first, second = (i for i in range(3) if i != plane.axis)
        a = camera.origin[first] + rays[ahead, first] * depth[ahead]
        b = camera.origin[second] + rays[ahead, second] * depth[ahead]
        inside = (a >= plane.low[0]) & (a <= plane.high[0]) & (b >= plane.low[1]) & (b <= plane.high[1])
        hit = ahead[inside]
        nearest[hit] = depth[hit]
        hiding[hit] = depth[hit] if plane.hides else np.inf
        picture[hit] = plane.texture(a[inside], b[inside]) * _SUN[plane.axis]
    shape = camera.height * _OVERSAMPLE, camera.width * _OVERSAMPLE
    picture, hiding = picture.reshape(*shape, 3), hiding.reshape(shape)
    size = (camera.width, camera.height)
    small = cv2.resize(np.clip(picture, 0, 255).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    middle = hiding[_OVERSAMPLE // 2 :: _OVERSAMPLE, _OVERSAMPLE // 2 :: _OVERSAMPLE]
    return Backdrop(small, np.ascontiguousarray(middle, dtype=np.float32))
