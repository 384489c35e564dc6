"""Gaussian noise from a keyed stream: only the site can predict it, and it can reproduce it.

A run's seed is public, so noise must not depend on it. Noise depends on a secret of the site and on all questions so
far: the same questions give the same noise, also after a restart, and any other question gives new noise. Two different
answers with the same noise would reveal their difference.
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
"""Noisy values are rounded to this fraction of the standard deviation: the last digits of floating-point sums reveal
more than the theory of real numbers allows (Mironov, CCS 2012)."""


def keyed_digest(secret: bytes, *purpose: str | bytes) -> bytes:
    """32 bytes that only the owner of the secret can compute (HMAC-SHA256)."""
    return hmac.new(secret, pack(*purpose), hashlib.sha256).digest()


def secret_generator(secret: bytes, *purpose: str | bytes) -> np.random.Generator:
    """A random generator for draws that are not sent, such as the videos of a round."""
    words = np.frombuffer(keyed_digest(secret, "generator", *purpose), "<u4")
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words.tolist())))


def gaussian_noise(key: bytes, values: np.ndarray, deviation: float) -> np.ndarray:
    """Values with Gaussian noise of this standard deviation, rounded to 1/1024 of it.

    Args:
        key: 32 bytes, used for nothing else.
        values: any shape, float64.
        deviation: standard deviation; 0 returns the values unchanged.

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
