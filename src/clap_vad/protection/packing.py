"""Unambiguous encoding of several values as one byte string, to be hashed, signed or bound to a key."""

from __future__ import annotations

import hashlib

__all__ = ["digest", "pack"]


def pack(*parts: str | bytes | int) -> bytes:
    """Type, length and content of every part, so that different lists of parts give different bytes.

    >>> pack("ab", "c") == pack("a", "bc")
    False
    """
    packed = []
    for part in parts:
        kind = b"s" if isinstance(part, str) else b"b" if isinstance(part, bytes) else b"i"
        content = part if isinstance(part, bytes) else str(part).encode()
        packed.append(kind + len(content).to_bytes(8, "big") + content)
    return b"".join(packed)


def digest(*parts: str | bytes | int) -> bytes:
    """SHA-256 of :func:`pack`: 32 bytes."""
    return hashlib.sha256(pack(*parts)).digest()
