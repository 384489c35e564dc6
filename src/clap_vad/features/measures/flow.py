"""Statistics of optical flow over the cells of a grid: how much moved, how fast, in which direction.

Velocities are in picture heights per second, to be comparable between cameras of different resolution and frame rate.
"""

from __future__ import annotations

import numpy as np

__all__ = ["CELL_SAMPLES", "FEATURE_NAMES", "segment_statistics"]

CELL_SAMPLES = 8
"""Flow is averaged to this many samples across and down a cell before the statistics are computed."""

DIRECTIONS = 8
MOVING = 0.03  # heights per second; above the noise of compressed still video, below a distant pedestrian

FEATURE_NAMES = (
    "speed mean",
    "speed deviation",
    "speed 90th percentile",
    "speed 98th percentile",
    "speed maximum",
    "horizontal speed mean",
    "vertical speed mean",
    "horizontal velocity mean",
    "vertical velocity mean",
    *(f"speed in direction {45 * k} degrees" for k in range(DIRECTIONS)),
    "share of moving samples",
    "velocity change mean",
    "velocity change maximum",
    "picture difference mean",
    "picture difference deviation",
    "gradient mean",
    "gradient deviation",
)
"""The D features of a cell; directions are measured clockwise on the screen, starting at right."""


def segment_statistics(
    velocity: np.ndarray, change: np.ndarray, difference: np.ndarray, gradient: np.ndarray, rows: int, cols: int
) -> np.ndarray:
    """Compute the statistics of one segment for every cell.

    Args:
        velocity: (F, rows * s, cols * s, 2) horizontal and vertical velocity, heights per second, s samples per cell.
        change: (F, rows * s, cols * s) magnitude of the velocity change per second, heights per second squared.
        difference: (F, rows * s, cols * s) magnitude of the brightness change, 0..1.
        gradient: (G, rows * s, cols * s) magnitude of the brightness gradient, per pixel.
        rows, cols: rows and columns of the grid.

    Returns:
        (rows * cols, D) float32, cells row by row, columns as in :data:`FEATURE_NAMES`; zero motion if F is 0.

    >>> right = np.zeros((3, 16, 16, 2)); right[..., 0] = 0.5
    >>> flat = np.zeros((3, 16, 16))
    >>> statistics = segment_statistics(right, flat, flat, flat, rows=2, cols=2)
    >>> dict(zip(FEATURE_NAMES, statistics[0].tolist()))["speed in direction 0 degrees"]
    0.5
    """
    cells = rows * cols
    statistics = np.zeros((cells, len(FEATURE_NAMES)), np.float32)
    texture = _by_cell(gradient, rows, cols)
    statistics[:, -2:] = np.stack([texture.mean(1), texture.std(1)], axis=1)
    if len(velocity) == 0:
        return statistics
    vx, vy = _by_cell(velocity[..., 0], rows, cols), _by_cell(velocity[..., 1], rows, cols)
    speed = np.hypot(vx, vy)
    jump, flicker = _by_cell(change, rows, cols), _by_cell(difference, rows, cols)
    columns = [
        speed.mean(1),
        speed.std(1),
        *np.percentile(speed, (90, 98), axis=1),
        speed.max(1),
        np.abs(vx).mean(1),
        np.abs(vy).mean(1),
        vx.mean(1),
        vy.mean(1),
        *_by_direction(vx, vy, speed).T,
        (speed > MOVING).mean(1),
        jump.mean(1),
        jump.max(1),
        flicker.mean(1),
        flicker.std(1),
    ]
    statistics[:, :-2] = np.stack(columns, axis=1)
    return statistics


def _by_cell(values: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Reshape (F, rows * s, cols * s) to (cells, F * s * s)."""
    frames, height, width = values.shape
    blocks = values.reshape(frames, rows, height // rows, cols, width // cols)
    return blocks.transpose(1, 3, 0, 2, 4).reshape(rows * cols, -1)


def _by_direction(vx: np.ndarray, vy: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Histogram of directions weighted by speed, (cells, DIRECTIONS); each row adds up to the mean speed."""
    cells, samples = speed.shape
    direction = np.rint(np.arctan2(vy, vx) * (DIRECTIONS / (2 * np.pi))).astype(np.intp) % DIRECTIONS
    slot = direction + DIRECTIONS * np.arange(cells)[:, None]
    total = np.bincount(slot.ravel(), weights=speed.ravel(), minlength=cells * DIRECTIONS)
    return total.reshape(cells, DIRECTIONS) / samples
