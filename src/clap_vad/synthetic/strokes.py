"""Drawing primitives at 1/16 pixel, so that slow movement is smooth, and turning figures into the world."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Colour", "bounds", "dimmed", "disc", "fixed", "line", "polygon", "to_world"]

Colour = tuple[int, int, int]
_SHIFT = 4


def to_world(local: np.ndarray, place: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """Points (n, k, 3) as forward, left, up of a figure at ``place`` (n, 2) with ``heading`` (n,), in world metres."""
    cosine, sine = np.cos(heading)[:, None], np.sin(heading)[:, None]
    x = place[:, :1] + local[..., 0] * cosine - local[..., 1] * sine
    y = place[:, 1:] + local[..., 0] * sine + local[..., 1] * cosine
    return np.stack([x, y, np.broadcast_to(local[..., 2], x.shape)], axis=-1)


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Pixel coordinates of any shape in the 1/16 pixel integers that the functions below take."""
    # OpenCV overflows on far-away coordinates; nothing beyond this limit can be seen
    return np.round(np.clip(pixels, -2000, 2000) * 2**_SHIFT).astype(np.int32)


def bounds(points: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) left, top, right, bottom in whole pixels around points (n, k, 2), ``margin`` (n,) pixels wider."""
    low = points.min(axis=1) / 2**_SHIFT - margin[:, None]
    high = points.max(axis=1) / 2**_SHIFT + margin[:, None]
    return np.concatenate([np.floor(low), np.ceil(high)], axis=1).astype(int)


def dimmed(colour: Colour, tone: float) -> Colour:
    """The colour at a share ``tone`` of its brightness."""
    red, green, blue = (int(tone * value) for value in colour)
    return red, green, blue


def line(canvas: np.ndarray, points: np.ndarray, width: float, colour: Colour | int) -> None:
    """A line through points (k, 2), ``width`` pixels wide."""
    cv2.polylines(canvas, [points], False, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def polygon(canvas: np.ndarray, corners: np.ndarray, colour: Colour | int, rim: float = 0.0) -> None:
    """A filled polygon (k, 2), rounded by a rim of that many pixels."""
    cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA, _SHIFT)
    if rim >= 1:
        cv2.polylines(canvas, [corners], True, colour, round(rim), cv2.LINE_AA, _SHIFT)


def disc(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Colour | int) -> None:
    """A filled circle, ``radius`` in pixels."""
    place = (int(centre[0]), int(centre[1]))
    cv2.circle(canvas, place, max(8, round(radius * 2**_SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)
