"""Vehicles: body, cabin, wheels and lamps, drawn as faces of boxes in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .strokes import Colour, bounds, dimmed, disc, fixed, polygon, to_world

__all__ = ["SHAPES", "Vehicle", "VehicleDrawing", "draw_vehicles"]


@dataclass(frozen=True)
class Vehicle:
    """The look of a vehicle: kind (a key of :data:`SHAPES`) and colour."""

    kind: str
    colour: Colour


@dataclass(frozen=True)
class Shape:
    """Dimensions in metres; ``cabin``: rear and front end in vehicle lengths from the centre, ``mast``: its top."""

    length: float
    width: float
    body: float
    roof: float
    cabin: tuple[float, float]
    wheel: float
    mast: float = 0.0


SHAPES = {
    "car": Shape(4.2, 1.8, 0.85, 1.45, (-0.38, 0.22), 0.33),
    "van": Shape(5.2, 2.0, 1.25, 2.2, (-0.5, 0.36), 0.36),
    "forklift": Shape(2.6, 1.3, 1.0, 2.1, (-0.3, 0.2), 0.3, mast=2.4),
}
_GLASS, _TYRE, _STEEL, _FRONT, _REAR = (52, 62, 74), (28, 28, 30), (60, 60, 62), (250, 245, 215), (190, 30, 30)
_SIDES = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])  # normals (forward, left) of faces 0 to 3


@dataclass(frozen=True)
class VehicleDrawing:
    """A vehicle projected at n times.

    Attributes:
        look: the vehicle.
        boxes: per box (mast, body, cabin) its faces (n, 6, 4, 2) in 1/16 pixels; faces 0 to 3 are right, front,
            left, rear, 4 is the top.
        wheels: rims (n, 4, k, 2), rear right, rear left, front right, front left.
        lamps: (n, 4, 2), two rear and two front ones.
        ground: outline (n, k, 2) of the shadow.
        scale: (n,) pixels per metre.
        seen: (n, 4) bool, which of the faces 0 to 3 face the camera.
        bounds: (n, 4) pixels, see ``strokes.bounds``.
    """

    look: Vehicle
    boxes: tuple[np.ndarray, ...]
    wheels: np.ndarray
    lamps: np.ndarray
    ground: np.ndarray
    scale: np.ndarray
    seen: np.ndarray
    bounds: np.ndarray

    def draw(self, index: int, canvas: np.ndarray, shadow: np.ndarray) -> None:
        """Draw time ``index`` onto ``canvas`` (H, W, 3) uint8 and its shadow onto ``shadow`` (H, W) uint8."""
        polygon(shadow, cv2.convexHull(self.ground[index])[:, 0], 255)
        seen = self.seen[index]
        *mast, body, cabin = self.boxes
        if mast and not seen[1]:  # driving away: the mast is behind the cabin
            _box(canvas, mast[0][index], seen, _STEEL)
        _box(canvas, body[index], seen, self.look.colour)
        for wheel in range(4):
            if seen[0 if wheel % 2 == 0 else 2]:
                polygon(canvas, self.wheels[index, wheel], _TYRE)
        _box(canvas, cabin[index], seen, self.look.colour, _GLASS)
        if mast and seen[1]:
            _box(canvas, mast[0][index], seen, _STEEL)
        for lamp in range(4):
            if seen[1 if lamp >= 2 else 3]:
                radius = 0.11 * float(self.scale[index])
                disc(canvas, self.lamps[index, lamp], radius, _FRONT if lamp >= 2 else _REAR)


def draw_vehicles(
    camera: Camera, sun: tuple[float, float], look: Vehicle, place: np.ndarray, heading: np.ndarray
) -> VehicleDrawing:
    """Project a vehicle at n times of ``place`` (n, 2) and ``heading`` (n,)."""
    shape = SHAPES[look.kind]
    half, side = shape.length / 2, shape.width / 2
    rear, front = (end * shape.length for end in shape.cabin)
    slope = 0.12 * shape.length
    boxes = [
        _faces((-half, half), (-half, half), side, side, 0.55 * shape.wheel, shape.body),
        _faces((rear, front), (rear + 0.4 * slope, front - slope), side, 0.85 * side, shape.body, shape.roof),
    ]
    if shape.mast:
        beam = (half, half + 0.12)
        boxes.insert(0, _faces(beam, beam, 0.7 * side, 0.7 * side, 0.05, shape.mast))
    angle = np.linspace(0, 2 * np.pi, 14)
    rim = shape.wheel * np.stack([np.cos(angle), np.zeros(14), 1 + np.sin(angle)], axis=1)
    hubs = [(end * 0.31 * shape.length, flank, 0.0) for end in (-1, 1) for flank in (-side, side)]
    lamps = [(end * half * 1.005, flank * side, 0.72 * shape.body) for end in (-1, 1) for flank in (-0.7, 0.7)]

    def pixels(local: np.ndarray) -> np.ndarray:
        flat = to_world(local.reshape(1, -1, 3), place, heading)
        return fixed(camera.project(flat)[0]).reshape(len(place), *local.shape[:-1], 2)

    outline = to_world(np.concatenate([box[[4, 5]].reshape(1, -1, 3) for box in boxes], axis=1), place, heading)
    outline[..., :2] += outline[..., 2:] * np.asarray(sun)
    outline[..., 2] = 0
    to_camera = camera.origin[:2] - place
    ahead = to_camera[:, 0] * np.cos(heading) + to_camera[:, 1] * np.sin(heading)
    left = to_camera[:, 1] * np.cos(heading) - to_camera[:, 0] * np.sin(heading)
    reach = np.abs(_SIDES) @ [half, side]
    seen = np.stack([ahead, left], axis=1) @ _SIDES.T > reach
    depth = camera.project(np.concatenate([place, np.full((len(place), 1), 0.7)], axis=1))[1]
    drawn = tuple(pixels(box) for box in boxes)
    ground = fixed(camera.project(outline)[0])
    corners = [box.reshape(len(place), -1, 2) for box in drawn]
    return VehicleDrawing(
        look=look,
        boxes=drawn,
        wheels=pixels(np.stack([rim + hub for hub in hubs])),
        lamps=pixels(np.array(lamps)),
        ground=ground,
        scale=camera.focal * camera.height / depth,
        seen=seen,
        bounds=bounds(np.concatenate([*corners, ground], axis=1), np.full(len(place), 3.0)),
    )


def _faces(
    low: tuple[float, float], high: tuple[float, float], foot: float, top: float, z0: float, z1: float
) -> np.ndarray:
    """Faces (6, 4, 3) of a truncated box with ends and half widths at the bottom ``z0`` and at the top ``z1``."""
    below = [(low[0], -foot, z0), (low[1], -foot, z0), (low[1], foot, z0), (low[0], foot, z0)]
    above = [(high[0], -top, z1), (high[1], -top, z1), (high[1], top, z1), (high[0], top, z1)]
    sides = [[below[i], below[(i + 1) % 4], above[(i + 1) % 4], above[i]] for i in range(4)]
    return np.array([*sides, above, below])


def _box(canvas: np.ndarray, faces: np.ndarray, seen: np.ndarray, colour: Colour, glass: Colour | None = None) -> None:
    """Draw the faces towards the camera; with ``glass`` each side gets a window."""
    for face, light in enumerate((0.72, 0.85, 0.72, 0.62, 1.0)):
        if face < 4 and not seen[face]:
            continue
        polygon(canvas, faces[face], dimmed(colour, light))
        if glass is not None and face < 4:
            middle = faces[face].mean(axis=0)
            polygon(canvas, (middle + 0.78 * (faces[face] - middle)).astype(np.int32), glass)
