"""Positions of actors over time: walking, pausing and driving along paths, as arrays over the frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .people import Person, random_person
from .vehicles import Vehicle

__all__ = ["Actor", "Pause", "drive", "follow", "length", "mark", "smooth", "walk"]


@dataclass(frozen=True)
class Actor:
    """One moving figure over a clip of n frames.

    Attributes:
        look: a person or a vehicle.
        place: (n, 2) metres on the ground.
        heading: (n,) radians from +x.
        present: (n,) bool, whether it is at the site.
        gait, stride, tilt, arms: (n,) each, see ``people.joints``; unused for vehicles.
        anomalous: (n,) bool, whether its behaviour is anomalous.
    """

    look: Person | Vehicle
    place: np.ndarray
    heading: np.ndarray
    present: np.ndarray
    gait: np.ndarray
    stride: np.ndarray
    tilt: np.ndarray
    arms: np.ndarray
    anomalous: np.ndarray


@dataclass(frozen=True)
class Pause:
    """A stop of ``seconds`` that starts at time ``start`` of the clip."""

    start: float
    seconds: float


def smooth(path: np.ndarray) -> np.ndarray:
    """A path (k, 2) with corners cut twice (Chaikin), so that no actor turns on the spot."""
    for _ in range(2):
        cut = np.empty((2 * len(path) - 2, 2))
        cut[0::2], cut[1::2] = 0.75 * path[:-1] + 0.25 * path[1:], 0.25 * path[:-1] + 0.75 * path[1:]
        path = np.concatenate([path[:1], cut, path[-1:]])
    return path


def length(path: np.ndarray) -> float:
    """Length of a path (k, 2) in metres.

    >>> length(np.array([[0.0, 0.0], [3.0, 4.0]]))
    5.0
    """
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def follow(path: np.ndarray, travelled: np.ndarray, aside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (n, 2), headings (n,) and presence (n,) after ``travelled`` metres along a path (k, 2).

    ``aside`` (n,) is an offset to the left of the path in metres. Actors are absent before the start and after the end.
    """
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    marks = np.concatenate([[0.0], np.cumsum(steps)])
    present = (travelled >= 0) & (travelled <= marks[-1])
    place = np.stack([np.interp(travelled, marks, path[:, i]) for i in (0, 1)], axis=1)
    ahead = np.stack([np.interp(travelled + 0.4, marks, path[:, i]) for i in (0, 1)], axis=1)
    behind = np.stack([np.interp(travelled - 0.4, marks, path[:, i]) for i in (0, 1)], axis=1)
    direction = ahead - behind
    heading = np.arctan2(direction[:, 1], direction[:, 0])
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    return place + left * aside[:, None], heading, present


def walk(
    rng: np.random.Generator, path: np.ndarray, times: np.ndarray, *, speed: float, start: float, aside: float = 0.0,
    pause: Pause | None = None,
) -> Actor:  # fmt: skip
    """A person who enters the path at time ``start`` and walks or (leaning forward) runs at ``speed`` m/s."""
    own = times - start
    if pause is not None:
        own = own - np.clip(times - pause.start, 0, pause.seconds)
    pulse, phase = rng.uniform(0.5, 1.1), rng.uniform(0, 2 * np.pi)
    travelled = speed * (own + 0.06 / pulse * np.sin(pulse * own + phase))
    sway = aside + 0.08 * np.sin(0.7 * own + phase)
    place, heading, present = follow(path, travelled, sway)
    who = random_person(rng)
    moving = np.abs(np.gradient(travelled, times)) > 0.1 * speed if len(times) > 1 else np.ones(len(times), bool)
    half_step = 0.3 * who.height / 1.72 * np.sqrt(speed / 1.3)
    count = len(times)
    return Actor(
        look=who,
        place=place,
        heading=heading,
        present=present,
        gait=travelled * np.pi / (2 * half_step) + phase,
        stride=np.where(moving, half_step, 0.03),
        tilt=np.full(count, 0.04 + (0.16 if speed > 2.5 else 0.0)),
        arms=np.full(count, 0.25 if speed > 2.5 else 0.0),
        anomalous=np.zeros(count, bool),
    )


def drive(
    vehicle: Vehicle, path: np.ndarray, times: np.ndarray, *, speed: float, start: float, sway: float = 0.0
) -> Actor:
    """A vehicle on a path that weaves slowly by ``sway`` metres to both sides."""
    travelled = speed * (times - start)
    place, heading, present = follow(path, travelled, sway * np.sin(0.15 * travelled))
    zero = np.zeros(len(times))
    return Actor(vehicle, place, heading, present, zero, zero, zero, zero, np.zeros(len(times), bool))


def mark(actor: Actor, when: np.ndarray) -> Actor:
    """The actor, marked as anomalous at the frames ``when`` (n,) bool if it is present."""
    return replace(actor, anomalous=when & actor.present)
