"""Drawing primitives with 1/16 pixel precision, so that slow movement is smooth; conversion to world coordinates."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Colour", "bounds", "dimmed", "disc", "fixed", "line", "polygon", "to_world"]

Colour = tuple[int, int, int]
_SHIFT = 4


def to_world(local: np.ndarray, place: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """World coordinates in metres of points (n, k, 3), forward, left and up of a figure at ``place`` (n, 2)."""
    cosine, sine = np.cos(heading)[:, None], np.sin(heading)[:, None]
    x = place[:, :1] + local[..., 0] * cosine - local[..., 1] * sine
    y = place[:, 1:] + local[..., 0] * sine + local[..., 1] * cosine
    return np.stack([x, y, np.broadcast_to(local[..., 2], x.shape)], axis=-1)


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Convert pixel coordinates of any shape to integers in 1/16 pixels, as the functions below need."""
    # OpenCV overflows on far-away coordinates; anything beyond this limit is invisible
    return np.round(np.clip(pixels, -2000, 2000) * 2**_SHIFT).astype(np.int32)


def bounds(points: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) left, top, right, bottom in pixels around points (n, k, 2), enlarged by ``margin`` (n,) pixels."""
    low = points.min(axis=1) / 2**_SHIFT - margin[:, None]
    high = points.max(axis=1) / 2**_SHIFT + margin[:, None]
    return np.concatenate([np.floor(low), np.ceil(high)], axis=1).astype(int)


def dimmed(colour: Colour, tone: float) -> Colour:
    """The colour with its brightness multiplied by ``tone``."""
    red, green, blue = (int(tone * value) for value in colour)
    return red, green, blue


def line(canvas: np.ndarray, points: np.ndarray, width: float, colour: Colour | int) -> None:
    """Draw a line through points (k, 2), ``width`` pixels wide."""
    cv2.polylines(canvas, [points], False, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def polygon(canvas: np.ndarray, corners: np.ndarray, colour: Colour | int, rim: float = 0.0) -> None:
    """Draw a filled polygon (k, 2), rounded by a rim of ``rim`` pixels."""
    cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA, _SHIFT)
    if rim >= 1:
        cv2.polylines(canvas, [corners], True, colour, round(rim), cv2.LINE_AA, _SHIFT)


def disc(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Colour | int) -> None:
    """Draw a filled circle, ``radius`` in pixels."""
    place = (int(centre[0]), int(centre[1]))
    cv2.circle(canvas, place, max(8, round(radius * 2**_SHIFT)), colour, -1, cv2.LINE_AA, _SHIFT)
