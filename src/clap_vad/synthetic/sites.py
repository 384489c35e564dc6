"""The four sites of the demo."""

from __future__ import annotations

import numpy as np

from .backdrop import Plane, box
from .camera import Camera
from .site import Lane, Light, Site
from .textures import boards, painted, rough, tiles, windows

__all__ = ["SITES"]


def _corridor() -> list[Plane]:
    wall = painted(tiles((186, 190, 182), 0.9, (150, 152, 146)), (60, 105, 135), lambda a, b: (b > 1.0) & (b < 1.4))
    floor = painted(
        tiles((150, 142, 130), 0.9, (105, 100, 94)), (205, 180, 70), lambda a, b: np.abs(np.abs(a) - 2.9) < 0.12
    )
    return [
        Plane(2, 0.0, (-3.6, -3.0), (3.6, 26.0), floor),
        Plane(0, -3.6, (-3.0, 0.0), (26.0, 8.0), wall),
        Plane(0, 3.6, (-3.0, 0.0), (26.0, 8.0), wall),
        Plane(1, 26.0, (-3.6, 0.0), (3.6, 8.0), rough((70, 72, 76), 2.0)),
        *box((2.9, 7.0, 0.0), (3.6, 8.6, 1.9), rough((60, 90, 150), 0.4), rough((50, 60, 90), 0.4)),
        *box((-3.6, 10.5, 0.0), (-3.1, 12.5, 0.5), rough((110, 80, 55), 0.3), rough((135, 100, 70), 0.3)),
    ]


def _street() -> list[Plane]:
    def ground(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        road = painted(
            rough((92, 93, 96), 1.5, 0.3),
            (215, 215, 205),
            lambda x, y: ((np.abs(x - 4.6) < 0.08) & (y % 4.0 < 2.0)) | (np.abs(np.abs(x - 4.6) - 3.3) < 0.06),
        )
        pavement = tiles((150, 146, 140), 0.7, (112, 110, 106), 0.25)
        return np.where(((a > 1.1) & (a < 8.1))[..., None], road(a, b), pavement(a, b))

    return [
        Plane(2, 0.0, (-40.0, 0.0), (40.0, 140.0), ground),
        Plane(0, -3.2, (2.0, 0.0), (140.0, 11.0), windows((150, 110, 92), (66, 78, 92), 2.6, 3.0)),
        Plane(0, 11.2, (2.0, 0.0), (140.0, 14.0), windows((176, 166, 148), (58, 72, 88), 3.2, 3.4)),
        *box((0.6, 15.0, 0.0), (0.8, 15.2, 6.0), rough((70, 72, 70), 0.4), rough((70, 72, 70), 0.4)),
        *box((8.5, 24.0, 0.0), (8.7, 24.2, 6.0), rough((70, 72, 70), 0.4), rough((70, 72, 70), 0.4)),
        *box((9.8, 16.0, 0.0), (10.9, 20.0, 1.0), rough((120, 100, 80), 0.4), rough((60, 105, 55), 0.3, 0.5)),
    ]


def _plaza() -> list[Plane]:
    ring = painted(
        tiles((196, 182, 160), 1.6, (150, 138, 120)),
        (150, 100, 80),
        lambda a, b: np.abs(np.hypot(a - 1.0, b - 17.0) - 6.0) < 0.6,
    )
    stone, water = rough((165, 160, 152), 0.6), rough((90, 140, 160), 0.8, 0.3)
    wood, green = rough((120, 105, 88), 0.4), rough((62, 112, 58), 0.5, 0.55)
    return [
        Plane(2, 0.0, (-60.0, 0.0), (60.0, 44.0), ring),
        Plane(1, 44.0, (-60.0, 0.0), (60.0, 16.0), windows((188, 160, 128), (70, 82, 96), 4.0, 4.0)),
        *box((-0.8, 15.2, 0.0), (2.8, 18.8, 0.7), stone, water),
        *box((0.7, 16.7, 0.0), (1.3, 17.3, 2.2), stone, stone),
        *box((-11.0, 22.0, 0.0), (-8.0, 24.0, 1.2), wood, green),
        *box((8.5, 24.0, 0.0), (11.5, 26.0, 1.2), wood, green),
        *box((7.0, 9.6, 0.0), (9.0, 10.6, 0.9), wood, green),
    ]


def _dock() -> list[Plane]:
    floor = painted(
        rough((150, 150, 146), 1.8, 0.35),
        (200, 165, 40),
        lambda a, b: (
            (np.abs(b - 5.6) < 0.07) | (np.abs(b - 7.8) < 0.07) | ((b > 13.2) & (b < 15.4) & ((a + b) % 1.6 < 0.35))
        ),
    )

    def wall(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        door = (np.abs((a + 4.0) % 8.0 - 4.0) < 2.1) & (b < 4.2)
        slats = boards((150, 158, 168), 0.45)(a, b)
        return np.where(door[..., None], slats, rough((120, 92, 82), 1.2)(a, b))

    crate, lid = boards((165, 125, 80), 0.25), rough((185, 145, 95), 0.3)
    return [
        Plane(2, 0.0, (-40.0, 0.0), (40.0, 16.5), floor),
        Plane(1, 16.5, (-40.0, 0.0), (40.0, 9.0), wall),
        *box((-7.4, 8.4, 0.0), (-5.4, 9.8, 1.5), crate, lid),
        *box((-7.0, 9.9, 0.0), (-5.6, 10.9, 2.2), crate, lid),
        *box((3.2, 3.9, 0.0), (4.4, 4.9, 1.0), crate, lid),
        *box((5.4, 13.4, 0.0), (6.8, 14.8, 1.3), crate, lid),
    ]


_SITES = (
    Site(
        name="corridor",
        story="the exit passage of a station, seen from its high ceiling; all people walk towards the camera",
        camera=Camera(320, 240, elevation=7.2, pitch=52.0, focal=0.95),
        fps=25,
        planes=_corridor,
        sky=(60, 60, 60),
        lanes=(
            Lane(((-1.3, 22.0), (-1.3, -1.0)), "people", (1.0, 1.5), 9.0, spread=0.9, pauses=0.05, groups=0.3),
            Lane(((1.3, 22.0), (1.3, -1.0)), "people", (1.0, 1.5), 10.0, spread=0.9, pauses=0.05, groups=0.25),
        ),
        light=Light(gain=0.92, drift=0.02, tint=(1.0, 0.99, 0.93), noise=1.6, sun=(0.15, 0.1), shade=0.25),
        detours={"spot": ((1.5, 8.0), (-1.6, 7.0))},
        training=("running", "", "fight", "", "wrong way", "", "", "running"),
        testing=("fight", "", "running", "wrong way"),
    ),
    Site(
        name="street",
        story="a traffic-calmed one-way street at dusk, 320 x 180 at 20 fps",
        camera=Camera(320, 180, elevation=7.0, pitch=21.0, yaw=-8.0, focal=1.25),
        fps=20,
        planes=_street,
        sky=(176, 182, 196),
        lanes=(
            Lane(((6.3, 75.0), (6.3, -2.0)), "car van", (3.0, 4.2), 25.0),
            Lane(((2.9, 75.0), (2.9, -2.0)), "car car van", (3.0, 4.2), 30.0),
            Lane(((-0.6, 2.0), (-0.6, 34.0)), "people", (1.0, 1.5), 12.0, spread=0.7, pauses=0.1, groups=0.3),
            Lane(((-1.6, 34.0), (-1.6, 2.0)), "people", (1.0, 1.5), 12.0, spread=0.7, pauses=0.1, groups=0.3),
            Lane(((9.2, 34.0), (9.2, 4.0)), "people", (1.0, 1.5), 14.0, spread=0.4, groups=0.2),
        ),
        light=Light(gain=0.78, drift=0.04, tint=(1.02, 0.98, 0.98), noise=2.0, sun=(0.35, -0.2), shade=0.25),
        detours={"spot": ((-0.9, 13.0), (8.9, 15.0))},
        training=("", "speeding", "", "running", "", "fight", "", "speeding"),
        testing=("speeding", "running", "", "fight"),
    ),
    Site(
        name="plaza",
        story="a sunny square for pedestrians, 352 x 288; its training videos contain no anomaly",
        camera=Camera(352, 288, elevation=8.5, pitch=31.0, focal=1.15),
        fps=25,
        planes=_plaza,
        sky=(150, 185, 225),
        lanes=(
            Lane(((-16.0, 11.0), (0.0, 12.5), (16.0, 12.0)), "people", (1.0, 1.5), 13.0, 1.0, pauses=0.2, groups=0.4),
            Lane(((20.0, 21.0), (2.0, 23.0), (-20.0, 20.0)), "people", (1.0, 1.5), 13.0, 1.2, pauses=0.2, groups=0.4),
            Lane(((-14.0, 38.0), (-5.0, 18.0), (-3.0, 3.0)), "people", (1.0, 1.5), 15.0, 0.8, pauses=0.15, groups=0.3),
            Lane(((4.5, 3.0), (5.5, 18.0), (14.0, 40.0)), "people", (1.0, 1.5), 15.0, 0.8, pauses=0.15, groups=0.3),
        ),
        light=Light(gain=1.0, drift=0.05, tint=(1.02, 1.0, 0.95), noise=1.2, sun=(0.7, 0.35), shade=0.42),
        detours={
            "spot": ((-4.0, 13.0), (5.0, 14.0)),
            "vehicle": ((-18.0, 26.0), (-7.0, 16.0), (1.0, 11.5), (16.0, 11.0)),
        },
        training=("",) * 8,
        testing=("vehicle", "", "fight", "gathering"),
    ),
    Site(
        name="dock",
        story="a dim loading dock at 15 fps with slow forklifts",
        camera=Camera(320, 240, elevation=4.4, pitch=27.0, focal=0.85),
        fps=15,
        planes=_dock,
        sky=(40, 42, 46),
        lanes=(
            Lane(((-16.0, 12.0), (16.0, 12.0)), "forklift", (1.4, 2.2), 22.0),
            Lane(((10.0, 6.4), (-10.0, 6.8)), "people", (1.0, 1.4), 12.0, spread=0.4, pauses=0.25, groups=0.15),
            Lane(((-10.0, 7.2), (-1.0, 7.4), (0.2, 16.3)), "people", (1.0, 1.4), 14.0, spread=0.4, pauses=0.25),
        ),
        light=Light(gain=0.72, drift=0.05, tint=(1.04, 1.0, 0.9), noise=2.5, sun=(0.2, 0.35), shade=0.3),
        detours={"spot": ((2.6, 9.4), (-3.2, 9.6))},
        training=("", "running", "", "fall", "fight", "", "", "running"),
        testing=("running", "loitering", "", "fall"),
    ),
)

SITES: dict[str, Site] = {site.name: site for site in _SITES}
