"""Noise that nobody but its maker can foresee, and that its maker can make again: Gaussian, from a keyed stream.

A run's seed is known to all, so noise must not come from it. It comes from a secret of the site and everything that
the site was asked so far: asked the same, it says the same, after a kill as before, and asked anything else it draws
anew. Two answers that share their noise would otherwise give away what they do not share.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from .packing import pack

__all__ = ["gaussian_noise", "keyed_digest", "secret_generator"]

_GRID = 2.0**-10
"""Noise and what it hides are rounded to this part of its standard deviation: the last digits of a floating-point sum
tell more of its parts than the theory of real numbers allows (Mironov, CCS 2012)."""


def keyed_digest(secret: bytes, *purpose: str | bytes) -> bytes:
    """32 bytes that only the owner of the secret can compute (HMAC-SHA256)."""
    return hmac.new(secret, pack(*purpose), hashlib.sha256).digest()


def secret_generator(secret: bytes, *purpose: str | bytes) -> np.random.Generator:
    """For draws that are not sent themselves, such as which videos take part in a round."""
    words = np.frombuffer(keyed_digest(secret, "generator", *purpose), "<u4")
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words.tolist())))


def gaussian_noise(key: bytes, values: np.ndarray, deviation: float) -> np.ndarray:
    """Values with noise of this standard deviation on each, on a grid of 1/1024 of it.

    Args:
        key: 32 bytes, used for nothing else.
        values: any shape, float64.
        deviation: 0 gives the values as they are.

    Returns:
        float64 of the same shape.
    """
    if deviation == 0:
        return values
    from scipy.special import ndtri

    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(8 * values.size))
    uniform = ((np.frombuffer(stream, "<u8") >> 12) + 0.5) * 2.0**-52  # never 0 or 1
    noisy = values + deviation * ndtri(uniform).reshape(values.shape)
    return np.asarray(np.rint(noisy / (deviation * _GRID)) * (deviation * _GRID))
