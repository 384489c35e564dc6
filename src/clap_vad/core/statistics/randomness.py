"""Random generators keyed by their purpose, independent of the order of use."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["keyed_generator"]


def keyed_generator(seed: int, round: int, participant: str, purpose: str = "") -> np.random.Generator:
    """The generator of one participant in one round of a run with this seed.

    The same key gives the same stream in any engine, in any order and after any number of restarts.

    >>> a = keyed_generator(0, 3, "camera-01").integers(1 << 30)
    >>> b = keyed_generator(0, 3, "camera-01").integers(1 << 30)
    >>> bool(a == b)
    True
    """
    digest = hashlib.sha256(f"{participant}\0{purpose}".encode()).digest()
    name = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, round, *name])))
