"""Conversion of decoded frames to upright grey or RGB pictures of one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

__all__ = ["Shaper"]

# Pixel formats whose first plane is the grey picture with 8 bits per pixel: limited range 16..235, full range 0..255.
_LIMITED_LUMA = {"yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv411p", "yuv440p", "nv12", "nv16", "nv21", "nv24"}
_FULL_LUMA = {"gray", "yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_EXPAND = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)  # ITU-R BT.601, 16..235


class Shaper:
    """Converts pictures; all get the size of the first.

    Args:
        side: longest side in pixels; larger pictures are shrunk. None keeps their size.
        colour: RGB pictures (H, W, 3) instead of grey ones (H, W), uint8.

    Attributes:
        shape: (height, width) of the first picture, upright, before shrinking; None before the first picture.
    """

    def __init__(self, side: int | None, colour: bool) -> None:
        self.shape: tuple[int, int] | None = None
        self._side, self._colour = side, colour
        self._size: tuple[int, int] | None = None  # (width, height) of every output picture

    def decoded(self, frame: av.VideoFrame) -> np.ndarray:
        """The picture of a decoded frame, with the rotation in its metadata undone."""
        name, limited = frame.format.name, False
        if self._colour:
            picture = frame.to_ndarray(format="rgb24")
        elif name in _LIMITED_LUMA | _FULL_LUMA:  # the first plane is the grey picture: no conversion needed
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8)[: frame.height * plane.line_size]
            picture = rows.reshape(frame.height, plane.line_size)[:, : frame.width]
            limited = name in _LIMITED_LUMA and frame.color_range != _FULL_RANGE
        else:
            picture = frame.to_ndarray(format="gray")
        turns = round(frame.rotation / 90) % 4
        picture = self.fitted(np.rot90(picture, turns) if turns else picture)
        return _EXPAND[picture] if limited else picture

    def fitted(self, picture: np.ndarray) -> np.ndarray:
        """The picture at the output size; always a new, contiguous array."""
        import cv2

        height, width = picture.shape[:2]
        if self._size is None:
            self.shape = (height, width)
            scale = min(1.0, (self._side or math.inf) / max(height, width))
            self._size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if (width, height) == self._size:
            return np.array(picture)
        return cv2.resize(np.ascontiguousarray(picture), self._size, interpolation=cv2.INTER_AREA)
