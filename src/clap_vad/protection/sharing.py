"""Shamir secret sharing of 32-byte secrets over GF(2^128): any t shares give the secret, fewer reveal nothing.

``pycryptodome`` makes the shares, with coefficients from the operating system. They are combined here: all secrets of a
session are interpolated at the same points, so the weights are computed once. With 100 participants this takes seconds
instead of minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from Crypto.Protocol.SecretSharing import Shamir

from ..errors import ClapError
from .session import SHARE_BYTES

__all__ = ["combine", "split"]

_BLOCK = 16
_POLYNOMIAL = (1 << 128) | 0b10000111  # x^128 + x^7 + x^2 + x + 1


def split(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """Shares 1 to ``count`` of a 32-byte secret, 32 bytes each: the shares of its two halves, concatenated."""
    first, second = (Shamir.split(threshold, count, secret[start : start + _BLOCK]) for start in (0, _BLOCK))
    return [a + b for (_, a), (_, b) in zip(first, second, strict=True)]


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret from its shares, by their numbers.

    Exactly ``threshold`` shares always give some secret. If there are more, two subsets are compared, which detects an
    altered share in them; single shares are not authenticated.

    Raises:
        ClapError: too few shares, or they contradict each other.

    >>> shares = dict(enumerate(split(bytes(range(32)), 2, 3), 1))
    >>> combine({1: shares[1], 3: shares[3]}, 2) == bytes(range(32))
    True
    """
    numbers = tuple(sorted(shares))
    if len(numbers) < threshold:
        raise ClapError(f"{len(numbers)} shares, but {threshold} are needed")
    secret = _interpolate(shares, numbers[:threshold])
    if len(numbers) > threshold and _interpolate(shares, numbers[-threshold:]) != secret:
        raise ClapError("the shares contradict each other")
    return secret


def _interpolate(shares: Mapping[int, bytes], numbers: tuple[int, ...]) -> bytes:
    halves = [0] * (SHARE_BYTES // _BLOCK)
    for number, weight in zip(numbers, _weights(numbers), strict=True):
        for i in range(len(halves)):
            halves[i] ^= _times(weight, int.from_bytes(shares[number][i * _BLOCK : (i + 1) * _BLOCK], "big"))
    return b"".join(half.to_bytes(_BLOCK, "big") for half in halves)


@lru_cache(maxsize=16)
def _weights(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange weights of the values at these points for the value at 0."""
    weights = []
    for number in numbers:
        above = below = 1
        for other in numbers:
            if other != number:
                above, below = _times(above, other), _times(below, number ^ other)
        weights.append(_times(above, _inverse(below)))
    return tuple(weights)


def _times(a: int, b: int) -> int:
    """Product in GF(2^128); the bits of an integer are the coefficients."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        b >>= 1
        a <<= 1
        if a >> 128:
            a ^= _POLYNOMIAL
    return product


def _inverse(a: int) -> int:
    """a^(2^128 - 2), the product of a^2, a^4, ..., a^(2^127)."""
    inverse = 1
    for _ in range(127):
        a = _times(a, a)
        inverse = _times(inverse, a)
    return inverse
