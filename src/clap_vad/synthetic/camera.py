"""A fixed pinhole camera above a ground plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Camera"]


@dataclass(frozen=True)
class Camera:
    """A camera at (0, 0, elevation) that looks along +y, turned by ``yaw`` and tilted down by ``pitch``.

    World coordinates are metres: x to the right, y away from the camera, z up.

    Attributes:
        width, height: picture size in pixels.
        elevation: metres above the ground.
        pitch: degrees below the horizon.
        yaw: degrees to the left of +y.
        focal: focal length in picture heights.
    """

    width: int
    height: int
    elevation: float
    pitch: float
    yaw: float = 0.0
    focal: float = 1.0

    @property
    def origin(self) -> np.ndarray:
        """Position of the camera, (3,) metres."""
        return np.array([0.0, 0.0, self.elevation])

    @property
    def axes(self) -> np.ndarray:
        """Rows right, up, forward: an orthonormal (3, 3) frame."""
        p, a = math.radians(self.pitch), math.radians(self.yaw)
        right = [math.cos(a), math.sin(a), 0.0]
        up = [-math.sin(a) * math.sin(p), math.cos(a) * math.sin(p), math.cos(p)]
        forward = [-math.sin(a) * math.cos(p), math.cos(a) * math.cos(p), -math.sin(p)]
        return np.array([right, up, forward])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and depths (...,) in metres along the viewing axis of world points (..., 3).

        A point behind the camera keeps a depth of at least a centimetre, so that callers can test the depth.

        >>> camera = Camera(320, 240, elevation=5, pitch=45)
        >>> pixel, depth = camera.project(np.array([0.0, 5.0, 0.0]))
        >>> pixel.round(6).tolist(), round(float(depth), 3)
        ([160.0, 120.0], 7.071)
        """
        seen = (points - self.origin) @ self.axes.T
        depth = np.maximum(seen[..., 2], 0.01)
        scale = self.focal * self.height / depth
        pixels = np.stack([self.width / 2 + seen[..., 0] * scale, self.height / 2 - seen[..., 1] * scale], axis=-1)
        return pixels, depth

    def rays(self, oversample: int) -> np.ndarray:
        """Viewing directions (height * oversample, width * oversample, 3), one metre along the viewing axis."""
        rows, columns = self.height * oversample, self.width * oversample
        u = ((np.arange(columns) + 0.5) / oversample - self.width / 2) / (self.focal * self.height)
        v = (self.height / 2 - (np.arange(rows) + 0.5) / oversample) / (self.focal * self.height)
        right, up, forward = self.axes
        return forward + u[None, :, None] * right + v[:, None, None] * up
