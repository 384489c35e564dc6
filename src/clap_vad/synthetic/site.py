"""Description of a site: camera, background, light, normal traffic and possible anomalies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .backdrop import Plane
from .camera import Camera

__all__ = ["Lane", "Light", "Site"]

Path = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Lane:
    """A path of normal traffic in one direction.

    Attributes:
        path: way points in metres.
        who: ``people`` or vehicle kinds, separated by spaces.
        speed: lowest and highest speed in m/s.
        every: mean seconds between arrivals.
        spread: metres to either side of the path (people only).
        pauses: share of people who stop for a moment.
        groups: share of people who walk in a group.
    """

    path: Path
    who: str
    speed: tuple[float, float]
    every: float
    spread: float = 0.0
    pauses: float = 0.0
    groups: float = 0.0


@dataclass(frozen=True)
class Light:
    """Brightness (1 is full daylight), its slow drift, tint, sensor noise (grey levels) and shadows.

    ``sun`` is the (x, y) length of a shadow in metres per metre of height; ``shade`` is the share of light it removes.
    """

    gain: float = 1.0
    drift: float = 0.04
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    noise: float = 3.0
    sun: tuple[float, float] = (0.5, 0.3)
    shade: float = 0.4


@dataclass(frozen=True)
class Site:
    """One participant of the demo.

    Attributes:
        name: also the name of its folder and scene.
        story: one sentence for the report.
        camera, fps: the camera and its frames per second.
        planes: function that builds the background.
        sky: colour of the sky.
        lanes: normal traffic.
        light: illumination.
        detours: paths used only by anomalies: ``vehicle`` (path of an intruder), ``spot`` (place to loiter, fall or
            meet).
        training, testing: anomalies of each clip, one entry per clip.
    """

    name: str
    story: str
    camera: Camera
    fps: int
    planes: Callable[[], list[Plane]]
    sky: tuple[float, float, float]
    lanes: tuple[Lane, ...]
    light: Light
    training: tuple[str, ...]
    testing: tuple[str, ...]
    detours: Mapping[str, Path] = field(default_factory=dict)
