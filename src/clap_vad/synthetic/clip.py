"""Rendering a clip from its plan: actors, frames and frame labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .anomalies import ANOMALIES
from .backdrop import Backdrop, cast
from .movement import Actor, Pause, drive, length, smooth, walk
from .people import Person, PersonDrawing, draw_people, joints
from .site import Lane, Site
from .sites import SITES
from .vehicles import Vehicle, VehicleDrawing, draw_vehicles

__all__ = ["Clip", "ClipPlan", "frames", "make_clip", "truth"]

_CARS = [(150, 152, 158), (40, 45, 60), (170, 40, 40), (215, 215, 210), (50, 80, 120), (70, 72, 74), (190, 150, 60)]
_NEAREST = 0.8  # metres; figures closer to the camera are not drawn


@dataclass(frozen=True)
class ClipPlan:
    """One video to render; equal plans give equal pixels.

    Attributes:
        name: file stem.
        site: a key of ``SITES``.
        split: ``train`` or ``test``.
        anomaly: a key of ``ANOMALIES`` or empty.
        frames: number of frames.
        seed: seed of all random choices.
    """

    name: str
    site: str
    split: str
    anomaly: str
    frames: int
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Clip:
    """A clip ready to render: site, actors over time, and the random generator of the pixel noise."""

    site: Site
    actors: tuple[Actor, ...]
    frames: int
    seed: tuple[int, ...]


def make_clip(plan: ClipPlan) -> Clip:
    """Create the actors of a clip: normal traffic and the planned anomaly."""
    site = SITES[plan.site]
    rng = np.random.default_rng([*plan.seed, 1])
    times = np.arange(plan.frames) / site.fps
    cast_list = [actor for lane in site.lanes for actor in _traffic(lane, rng, times)]
    if plan.anomaly:
        cast_list += ANOMALIES[plan.anomaly](site, np.random.default_rng([*plan.seed, 2]), times)
    return Clip(site, tuple(cast_list), plan.frames, plan.seed)


def truth(clip: Clip) -> np.ndarray:
    """Frame labels (n,) uint8: 1 where an anomalous actor is visible.

    Visible means: the centre of the figure is inside the picture and its height at least 5 % of the picture's height.
    """
    camera = clip.site.camera
    labels = np.zeros(clip.frames, np.uint8)
    for actor in clip.actors:
        middle = np.concatenate([actor.place, np.full((clip.frames, 1), 0.8)], axis=1)
        pixel, depth = camera.project(middle)
        inside = (pixel >= 0).all(axis=1) & (pixel < [camera.width, camera.height]).all(axis=1)
        near = (depth > _NEAREST) & (camera.focal * 1.6 / depth >= 0.05)
        labels |= (actor.anomalous & inside & near).astype(np.uint8)
    return labels


def frames(clip: Clip) -> Iterator[np.ndarray]:
    """The clip's frames, (height, width, 3) uint8 RGB."""
    site, light = clip.site, clip.site.light
    rng = np.random.default_rng([*clip.seed, 3])
    backdrop = _backdrop(site.name)
    rows, columns = backdrop.hiding.shape
    phase, pace = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.35)
    base = np.clip(backdrop.picture, 0, 255).astype(np.uint8)
    figures = [_Figure.of(actor, site) for actor in clip.actors]
    walls = np.isfinite(backdrop.hiding)
    noise = rng.normal(0, light.noise, (rows + 64, columns + 64)).astype(np.float32)
    noise = np.repeat(noise[..., None], 3, axis=2)
    for index in range(clip.frames):
        canvas, shadow = base.copy(), np.zeros((rows, columns), np.uint8)
        _draw(figures, index, backdrop.hiding, canvas, shadow)
        # shadows darken only the ground, not figures, walls and boxes
        bodies = cv2.cvtColor(cv2.absdiff(canvas, base), cv2.COLOR_RGB2GRAY) > 0
        shadow[bodies | walls] = 0
        gain = light.gain * (1 + light.drift * np.sin(2 * np.pi * pace * index / site.fps + phase))
        bright = np.float32(gain) * (1 - np.float32(light.shade / 255) * cv2.GaussianBlur(shadow, (3, 3), 0))
        down, right = rng.integers(0, 64, 2)
        picture = canvas * cv2.merge([bright * np.float32(tint) for tint in light.tint])
        picture += noise[down : down + rows, right : right + columns]
        yield np.clip(picture, 0, 255, out=picture).astype(np.uint8)


@dataclass(frozen=True)
class _Figure:
    """An actor ready to draw, and its ``depth`` (n,) in metres from the camera."""

    present: np.ndarray
    drawing: PersonDrawing | VehicleDrawing
    depth: np.ndarray

    @classmethod
    def of(cls, actor: Actor, site: Site) -> _Figure:
        camera, sun = site.camera, site.light.sun
        depth = camera.project(np.concatenate([actor.place, np.zeros((len(actor.place), 1))], axis=1))[1]
        drawing: PersonDrawing | VehicleDrawing
        if isinstance(actor.look, Person):
            pose = joints(actor.look.height, actor.gait, actor.stride, actor.tilt, actor.arms)
            drawing = draw_people(camera, sun, actor.look, actor.place, actor.heading, pose)
        else:
            drawing = draw_vehicles(camera, sun, actor.look, actor.place, actor.heading)
        return cls(actor.present & (depth > _NEAREST), drawing, depth)


@lru_cache(maxsize=len(SITES))
def _backdrop(name: str) -> Backdrop:
    site = SITES[name]
    return cast(site.camera, site.planes(), site.sky)


def _draw(figures: list[_Figure], index: int, hiding: np.ndarray, canvas: np.ndarray, shadow: np.ndarray) -> None:
    """Draw all present figures from far to near; objects in front hide them."""
    there = [figure for figure in figures if figure.present[index]]
    for figure in sorted(there, key=lambda figure: -figure.depth[index]):
        left, top, right, bottom = np.maximum(figure.drawing.bounds[index], 0).tolist()
        region = canvas[top:bottom, left:right]
        if not region.size:
            continue
        front = hiding[top:bottom, left:right] < figure.depth[index]
        kept = region[front]
        figure.drawing.draw(index, canvas, shadow)
        region[front] = kept


def _traffic(lane: Lane, rng: np.random.Generator, times: np.ndarray) -> list[Actor]:
    """Normal traffic of a lane; arrivals start before the clip, so that the lane is populated at its start."""
    path = smooth(np.array(lane.path))
    slow, fast = lane.speed
    common = rng.uniform(slow, fast)  # one speed per lane and clip, so that vehicles do not drive through each other
    moment = -length(path) / slow + rng.exponential(lane.every)
    found = []
    while moment < times[-1]:
        if lane.who != "people":
            kinds = lane.who.split()
            kind = kinds[rng.integers(len(kinds))]
            colour = (215, 150, 30) if kind == "forklift" else _CARS[rng.integers(len(_CARS))]
            found.append(drive(Vehicle(kind, colour), path, times, speed=common, start=moment))
            moment += 8.0 / common  # headway
        else:
            found += _company(lane, rng, path, times, moment)
        moment += rng.exponential(lane.every)
    return found


def _company(lane: Lane, rng: np.random.Generator, path: np.ndarray, times: np.ndarray, moment: float) -> list[Actor]:
    """One person, or two or three who walk and stop together."""
    size = 1 + (rng.random() < lane.groups) + (rng.random() < 0.3 * lane.groups)
    speed, middle = rng.uniform(*lane.speed), rng.uniform(-lane.spread, lane.spread)
    pause = None
    if rng.random() < lane.pauses:
        travel = length(path) / speed
        pause = Pause(moment + rng.uniform(0.2, 0.8) * travel, rng.uniform(1.0, 3.5))
    together = []
    for k in range(size):
        aside = middle + 0.65 * (k - (size - 1) / 2)
        start = moment + rng.uniform(-0.2, 0.2) + 0.3 * (k == 2)
        together.append(walk(rng, path, times, speed=speed, start=start, aside=aside, pause=pause))
    return together
