"""Shamir's shares of secrets of 32 bytes, over GF(2^128): any t give the secret, fewer tell nothing.

``pycryptodome`` makes the shares, with coefficients from the operating system. Putting them together is done here: all
secrets of a session are interpolated at the same points, so the weights are computed once, which at 100 participants
takes seconds in place of minutes.
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
    """Shares number 1 to ``count`` of 32 bytes, 32 bytes each: those of either half, one behind the other."""
    first, second = (Shamir.split(threshold, count, secret[start : start + _BLOCK]) for start in (0, _BLOCK))
    return [a + b for (_, a), (_, b) in zip(first, second, strict=True)]


def combine(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret of which these are shares, by their numbers.

    Exactly ``threshold`` shares give some secret whatever they are. Where there are more, two choices of them are
    compared, which finds an altered one among those; a share in itself is not authenticated.

    Raises:
        ClapError: too few, or they contradict each other.

    >>> shares = dict(enumerate(split(bytes(range(32)), 2, 3), 1))
    >>> combine({1: shares[1], 3: shares[3]}, 2) == bytes(range(32))
    True
    """
    numbers = tuple(sorted(shares))
    if len(numbers) < threshold:
        raise ClapError(f"{len(numbers)} shares, where {threshold} are needed")
    secret = _interpolate(shares, numbers[:threshold])
    if len(numbers) > threshold and _interpolate(shares, numbers[-threshold:]) != secret:
        raise ClapError("shares that contradict each other")
    return secret


def _interpolate(shares: Mapping[int, bytes], numbers: tuple[int, ...]) -> bytes:
    halves = [0] * (SHARE_BYTES // _BLOCK)
    for number, weight in zip(numbers, _weights(numbers), strict=True):
        for i in range(len(halves)):
            halves[i] ^= _times(weight, int.from_bytes(shares[number][i * _BLOCK : (i + 1) * _BLOCK], "big"))
    return b"".join(half.to_bytes(_BLOCK, "big") for half in halves)


@lru_cache(maxsize=16)
def _weights(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights of the values at these points for the value at 0."""
    weights = []
    for number in numbers:
        above = below = 1
        for other in numbers:
            if other != number:
                above, below = _times(above, other), _times(below, number ^ other)
        weights.append(_times(above, _inverse(below)))
    return tuple(weights)


def _times(a: int, b: int) -> int:
    """Product in GF(2^128), the bits of an integer being the coefficients."""
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
