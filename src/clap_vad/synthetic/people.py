"""People: joints for walking, running, falling and fighting, drawn as limbs in perspective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .strokes import Colour, bounds, dimmed, disc, fixed, line, polygon, to_world

__all__ = ["JOINTS", "Person", "PersonDrawing", "draw_people", "joints", "random_person"]

JOINTS = ("neck", "head", "face", *(f"{part} {side}" for side in ("left", "right")
          for part in ("hip", "knee", "foot", "shoulder", "hand")))  # fmt: skip
_AT = {name: index for index, name in enumerate(JOINTS)}
_LEGS = {side: [_AT[f"{part} {side}"] for part in ("hip", "knee", "foot")] for side in ("left", "right")}
_ARMS = {side: [_AT[f"{part} {side}"] for part in ("shoulder", "hand")] for side in ("left", "right")}
_TORSO = [_AT[name] for name in ("shoulder left", "shoulder right", "hip right", "hip left")]

_COATS = [(150, 40, 45), (40, 70, 130), (60, 60, 66), (190, 170, 60), (70, 110, 75), (205, 205, 200), (120, 70, 140),
          (35, 40, 60), (200, 110, 50), (90, 150, 165)]  # fmt: skip
_TROUSERS = [(45, 50, 80), (50, 48, 46), (105, 95, 80), (35, 35, 38), (70, 80, 95)]
_SKINS = [(225, 180, 150), (170, 120, 85), (110, 75, 55), (240, 200, 175)]
_HAIRS = [(30, 25, 22), (85, 55, 30), (150, 120, 70), (120, 118, 115)]


@dataclass(frozen=True)
class Person:
    """The look of a person: height in metres, colours of coat, trousers, skin and hair."""

    height: float
    coat: Colour
    trousers: Colour
    skin: Colour
    hair: Colour


def random_person(rng: np.random.Generator) -> Person:
    """A person of random height and clothes."""
    picked = [palette[rng.integers(len(palette))] for palette in (_COATS, _TROUSERS, _SKINS, _HAIRS)]
    return Person(min(1.95, max(1.5, rng.normal(1.72, 0.08))), *picked)


def joints(height: float, gait: np.ndarray, stride: np.ndarray, tilt: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Joints (n, len(JOINTS), 3) at n times: metres forward, left and up from the point on the ground.

    Args:
        height: height in metres; scales all joints.
        gait: (n,) phase of the step in radians.
        stride: (n,) half the length of a step in metres; 0 for standing.
        tilt: (n,) forward tilt in radians: 0.2 when running, pi / 2 when lying on the ground.
        arms: (n,) 0: arms swing with the step, 1: fists are raised and thrown forward.
    """
    found = np.zeros((len(gait), len(JOINTS), 3))

    def put(name: str, forward: np.ndarray | float, left: float, up: np.ndarray | float) -> None:
        found[:, _AT[name], 0], found[:, _AT[name], 1], found[:, _AT[name], 2] = forward, left, up

    put("neck", 0.0, 0.0, 0.83)
    put("head", 0.01, 0.0, 0.925)
    put("face", 0.045, 0.0, 0.91)
    swing = np.sin(gait)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        step = sign * swing * stride / height
        lift = np.maximum(0.0, sign * np.cos(gait)) * 0.25 * stride / height
        put(f"hip {side}", 0.0, sign * 0.055, 0.5)
        put(f"knee {side}", step * 0.55 + 0.03 + 0.6 * lift, sign * 0.055, 0.27 + 0.3 * lift)
        put(f"foot {side}", step, sign * 0.055, 0.02 + lift)
        put(f"shoulder {side}", 0.0, sign * 0.115, 0.8)
        put(f"hand {side}", (1 - arms) * -0.8 * step + arms * (0.2 + 0.14 * sign * swing), 0.0,
            (1 - arms) * (0.47 + 0.1 * np.abs(step)) + arms * (0.78 + 0.1 * sign * swing))  # fmt: skip
        found[:, _AT[f"hand {side}"], 1] = sign * (0.15 - 0.08 * arms)
    cosine, sine = np.cos(tilt)[:, None], np.sin(tilt)[:, None]
    forward, up = found[..., 0], found[..., 2]
    turned = np.stack([forward * cosine + up * sine, found[..., 1], up * cosine - forward * sine], axis=-1)
    turned[..., 2] = np.maximum(turned[..., 2], 0.03)
    return height * turned


@dataclass(frozen=True)
class PersonDrawing:
    """A person projected at n times.

    Attributes:
        look: the person.
        at, ground: joints and their shadows, (n, joints, 2) in 1/16 pixels.
        scale: (n,) pixels per metre.
        bounds: (n, 4) pixels, see ``strokes.bounds``.
    """

    look: Person
    at: np.ndarray
    ground: np.ndarray
    scale: np.ndarray
    bounds: np.ndarray

    def draw(self, index: int, canvas: np.ndarray, shadow: np.ndarray) -> None:
        """Draw time ``index`` onto ``canvas`` (H, W, 3) uint8 and its shadow onto ``shadow`` (H, W) uint8."""
        look, at, ground = self.look, self.at[index], self.ground[index]
        unit = look.height * float(self.scale[index])
        for leg in _LEGS.values():
            line(shadow, ground[leg], 0.08 * unit, 255)
        polygon(shadow, ground[_TORSO], 255, rim=0.08 * unit)
        disc(shadow, ground[_AT["head"]], 0.07 * unit, 255)
        near = unit > 25  # hands and feet of distant people are smaller than a pixel
        for side, tone in (("left", 0.78), ("right", 1.0)):
            line(canvas, at[_LEGS[side]], 0.085 * unit, dimmed(look.trousers, tone))
            if near:
                disc(canvas, at[_AT[f"foot {side}"]], 0.035 * unit, (35, 30, 30))
        polygon(canvas, at[_TORSO], look.coat, rim=0.07 * unit)
        sleeve = dimmed(look.coat, 0.75)
        for side in ("left", "right"):
            line(canvas, at[_ARMS[side]], 0.055 * unit, sleeve)
            if near:
                disc(canvas, at[_AT[f"hand {side}"]], 0.026 * unit, look.skin)
        disc(canvas, at[_AT["head"]], 0.07 * unit, look.hair)
        disc(canvas, at[_AT["face"]], 0.052 * unit, look.skin)


def draw_people(
    camera: Camera, sun: tuple[float, float], look: Person, place: np.ndarray, heading: np.ndarray, pose: np.ndarray
) -> PersonDrawing:
    """Project a person at n times; ``pose`` (n, joints, 3) is from :func:`joints`, ``sun`` is as in ``Light``."""
    world = to_world(pose, place, heading)
    pixels, depth = camera.project(world)
    shadow = world.copy()
    shadow[..., :2] += world[..., 2:] * np.asarray(sun)
    shadow[..., 2] = 0
    scale = camera.focal * camera.height / depth.mean(axis=1)
    at, ground = fixed(pixels), fixed(camera.project(shadow)[0])
    box = bounds(np.concatenate([at, ground], axis=1), 2 + 0.1 * look.height * scale)
    return PersonDrawing(look, at, ground, scale, box)
