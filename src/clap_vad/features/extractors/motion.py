"""Motion: statistics of dense optical flow over the cells of a grid.

Flow is computed by DIS (Kroeger, Timofte, Dai, Van Gool: Fast Optical Flow using Dense Inverse Search, ECCV 2016) of
OpenCV, preset "ultrafast" at the full resolution of the shrunk picture. Each cell is a region, stored row by row, so
that a score can be located in the picture. The features of a cell are ``measures.flow.FEATURE_NAMES``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ClapError
from ...settings import option
from ..extraction.extractor import EXTRACTORS
from ..extraction.video_extractor import VideoExtractor, check_stride
from ..measures.flow import CELL_SAMPLES, FEATURE_NAMES, segment_statistics
from ..roles import Roles
from ..segments import SegmentFeatures

__all__ = ["Motion"]

_SMALLEST = 32  # pixels; smaller pictures are enlarged, as DIS needs space for its patches


@EXTRACTORS.register("motion")
@dataclass(frozen=True)
class Motion(VideoExtractor):
    """Optical flow statistics on a grid: features (T, rows * cols, 24)."""

    rows: int = option(6, "Rows of the grid.")
    cols: int = option(8, "Columns of the grid.")
    side: int = option(320, "Longest side in pixels; larger pictures are shrunk.")
    stride: int = option(1, "Frames from one picture to the next for the flow: 1, 2, 4, 8 or 16.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.rows <= 64 and 1 <= self.cols <= 64):
            raise ClapError(f"motion: the grid is {self.rows} x {self.cols}; give 1 to 64 rows and columns")
        if not _SMALLEST <= self.side <= 4096:
            raise ClapError(f"motion: side is {self.side}; give {_SMALLEST} to 4096 pixels")
        check_stride("motion", self.stride)

    @property
    def crops(self) -> int:
        return self.rows * self.cols

    @property
    def dim(self) -> int:
        return len(FEATURE_NAMES)

    @property
    def places(self) -> np.ndarray:
        """The cells of the grid, row by row."""
        top, left = np.divmod(np.arange(self.rows * self.cols), self.cols)
        edges = [left / self.cols, top / self.rows, (left + 1) / self.cols, (top + 1) / self.rows]
        return np.stack(edges, axis=1)

    @property
    def roles(self) -> Roles:
        """Activity is speed and share of motion; the other columns depend on texture, light and compression."""
        names = ("speed mean", "speed 90th percentile", "horizontal speed mean", "share of moving samples")
        return Roles(activity=tuple(FEATURE_NAMES.index(name) for name in names))

    @property
    def picture_side(self) -> int:
        return self.side

    def maker(self, fps: float) -> _Segment:
        return _Segment(self, fps)


class _Segment:
    """Collects the flow of each segment; keeps the last picture and flow between segments."""

    def __init__(self, settings: Motion, fps: float) -> None:
        import cv2

        cv2.setNumThreads(1)  # one core per process
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        # Measured on textured objects, 24 to 70 pixels high, in noisy pictures of 360 pixels: the end point error is a
        # quarter of the preset's (finest scale 2); patch stride 6 instead of 4 costs little and doubles the speed.
        self._flow.setFinestScale(0)
        self._flow.setPatchStride(6)
        self._grid = (settings.rows, settings.cols)
        self._samples = (settings.cols * CELL_SAMPLES, settings.rows * CELL_SAMPLES)
        self._stride, self._taken = settings.stride, 0
        self._rate = fps / settings.stride
        self._before: np.ndarray | None = None
        self._velocity_before: np.ndarray | None = None
        self._collected: list[list[np.ndarray]] = [[], [], [], []]

    def add(self, picture: np.ndarray) -> None:
        """Add the next picture (H, W) uint8."""
        self._taken += 1
        if (self._taken - 1) % self._stride:
            return
        picture = _enlarge(picture)
        velocity, change, difference, gradient = self._collected
        gradient.append(self._shrink(_gradient(picture)))
        if self._before is not None:
            flow = self._flow.calc(self._before, picture, np.zeros((*picture.shape, 2), np.float32))
            now = self._shrink(flow) * np.float32(self._rate / picture.shape[0])
            before = now if self._velocity_before is None else self._velocity_before
            velocity.append(now)
            change.append(np.linalg.norm(now - before, axis=2) * np.float32(self._rate))
            difference.append(self._shrink(_difference(self._before, picture)))
            self._velocity_before = now
        self._before = picture

    def finish(self) -> SegmentFeatures:
        """Statistics (1, cells, D) of the pictures since the last call."""
        width, height = self._samples
        velocity, change, difference, gradient = (
            np.stack(entries) if entries else np.zeros((0, height, width, *tail), np.float32)
            for entries, tail in zip(self._collected, [(2,), (), (), ()], strict=True)
        )
        for entries in self._collected:
            entries.clear()
        return SegmentFeatures(segment_statistics(velocity, change, difference, gradient, *self._grid)[None])

    def _shrink(self, values: np.ndarray) -> np.ndarray:
        import cv2

        shrunk: np.ndarray = cv2.resize(values, self._samples, interpolation=cv2.INTER_AREA)
        return shrunk


def _enlarge(picture: np.ndarray) -> np.ndarray:
    import cv2

    height, width = picture.shape
    if min(height, width) >= _SMALLEST:
        return picture
    scale = _SMALLEST / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))


def _gradient(picture: np.ndarray) -> np.ndarray:
    """Magnitude of the brightness gradient, float32, for grey levels 0..1, per pixel."""
    import cv2

    across, down = cv2.spatialGradient(picture)  # Sobel 3 x 3: eight times the central slope
    # not cv2.magnitude: its last bit differs between calls on equal pictures
    squares = np.square(across, dtype=np.int32) + np.square(down, dtype=np.int32)
    return np.sqrt(squares.astype(np.float32)) * np.float32(1 / (8 * 255))


def _difference(before: np.ndarray, picture: np.ndarray) -> Any:
    import cv2

    return cv2.absdiff(before, picture).astype(np.float32) * np.float32(1 / 255)
