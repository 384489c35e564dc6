"""Procedural textures with fine grain, which optical flow needs.

A texture is a function of two surface coordinates in metres, arrays of any shape, that returns colours (..., 3) in
0..255.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["Texture", "boards", "grain", "painted", "rough", "tiles", "windows"]

Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]
Colour = tuple[float, float, float]
_LATTICE = np.random.default_rng(20240601).random((256, 256)).astype(np.float32)


def grain(a: np.ndarray, b: np.ndarray, size: float, octaves: int = 4) -> np.ndarray:
    """Value noise in -1..1. The coarsest octave has ``size`` metres; each next one is half as wide, 0.6 as strong."""
    total, weight, strength = np.zeros(a.shape), 0.0, 1.0
    for octave in range(octaves):
        x, y = a / size * 2**octave + 17.3 * octave, b / size * 2**octave + 5.1 * octave
        i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        u, v = x - i, y - j
        u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
        corner = [_LATTICE[(i + di) % 256, (j + dj) % 256] for di in (0, 1) for dj in (0, 1)]
        low, high = corner[0] * (1 - v) + corner[1] * v, corner[2] * (1 - v) + corner[3] * v
        total += strength * (2 * (low * (1 - u) + high * u) - 1)
        weight += strength
        strength *= 0.6
    return total / weight


def rough(colour: Colour, size: float = 1.0, contrast: float = 0.25) -> Texture:
    """A plain material (asphalt, plaster, concrete, leaves) with grain of ``size`` metres."""

    def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        fine = grain(a, b, size) + 0.5 * grain(a, b, size / 12, 2)
        return np.asarray(colour) * (1 + contrast * fine)[..., None]

    return texture


def tiles(colour: Colour, side: float, joint: Colour, contrast: float = 0.2) -> Texture:
    """Square tiles of ``side`` metres with slightly different tones and joints of another colour."""

    def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        i, j = np.floor(a / side).astype(np.int64), np.floor(b / side).astype(np.int64)
        tone = 2 * _LATTICE[(7 * i + 3) % 256, (11 * j + 5) % 256] - 1
        body = np.asarray(colour) * (1 + contrast * (tone + 0.8 * grain(a, b, side)))[..., None]
        edge = np.minimum(np.minimum(a % side, b % side), side - np.maximum(a % side, b % side))
        return np.where((edge < 0.03 * side)[..., None], np.asarray(joint), body)

    return texture


def boards(colour: Colour, width: float) -> Texture:
    """Slats or a rolling door: dark grooves every ``width`` metres along the second coordinate."""

    def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        groove = np.abs((b / width) % 1 - 0.5) * 2
        return np.asarray(colour) * (0.65 + 0.35 * groove + 0.12 * grain(a, b, 0.6))[..., None]

    return texture


def windows(wall: Colour, glass: Colour, width: float, height: float) -> Texture:
    """A house front: one window every ``width`` by ``height`` metres."""

    def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        u, v = (a / width) % 1, (b / height) % 1
        pane = (np.abs(u - 0.5) < 0.26) & (np.abs(v - 0.55) < 0.28)
        lit = _LATTICE[np.floor(a / width).astype(np.int64) % 256, np.floor(b / height).astype(np.int64) % 256]
        shine = np.asarray(glass) * (0.7 + 0.6 * lit + 0.15 * grain(a, b, 0.5))[..., None]
        return np.where(pane[..., None], shine, np.asarray(wall) * (1 + 0.15 * grain(a, b, 2.0))[..., None])

    return texture


def painted(base: Texture, stripe: Colour, where: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Texture:
    """``base`` with worn paint where ``where`` is true: lane marks, kerbs, hatched zones, crossings."""

    def texture(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        paint = np.asarray(stripe) * (1 + 0.15 * grain(a, b, 0.3))[..., None]
        return np.where(where(a, b)[..., None], paint, base(a, b))

    return texture
