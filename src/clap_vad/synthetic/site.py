"""What a site is: camera, fixed surroundings, light, normal traffic, and the anomalies that may happen there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .backdrop import Plane
from .camera import Camera

__all__ = ["Lane", "Light", "Site"]

Path = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Lane:
    """A path that normal traffic takes in one direction.

    Attributes:
        path: way points in metres.
        who: ``people`` or a vehicle kind, several separated by spaces.
        speed: slowest and fastest m/s.
        every: mean seconds between arrivals.
        spread: metres to either side of the path (people only).
        pauses: share of the people who stop for a moment.
        groups: share of the people who bring company.
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

    ``sun`` is the shadow's (x, y) metres per metre of height; ``shade`` is how much light a shadow takes.
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
        story: one sentence for the reader of the report.
        camera, fps: the recording.
        planes: builds the fixed surroundings.
        sky: colour where nothing stands.
        lanes: normal traffic.
        light: illumination.
        detours: paths that only anomalies take: ``vehicle`` (an intruder's way), ``spot`` (where one loiters, falls
            out or meets).
        training, testing: one entry a clip, the anomalies that happen in it.
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
