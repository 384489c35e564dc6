"""How long to wait before the next try of what has failed."""

from __future__ import annotations

import hashlib

__all__ = ["LONGEST", "STABLE_SECONDS", "Backoff"]

LONGEST = 30.0
STABLE_SECONDS = 60.0
_JITTER = 0.2


class Backoff:
    """1, 2, 4, ... 30 seconds, less up to a fifth by the key, so that all cameras of a site do not try at once.

    Args:
        key: what is tried, such as the camera's name; the same key always waits alike.
        first, longest: seconds.

    >>> backoff = Backoff("gate")
    >>> [round(backoff.wait(now=0.0)) for _ in range(7)]
    [1, 2, 4, 7, 13, 29, 30]
    """

    def __init__(self, key: str, first: float = 1.0, longest: float = LONGEST) -> None:
        self._key, self._first, self._longest = key, first, longest
        self._tries = 0
        self._good_since: float | None = None

    def succeeded(self, now: float) -> None:
        """A try has succeeded at ``now`` (seconds of a clock that is never set)."""
        if self._good_since is None:
            self._good_since = now

    def wait(self, now: float) -> float:
        """A try has failed: seconds until the next one. After a good minute the waits start from the first again."""
        if self._good_since is not None and now - self._good_since >= STABLE_SECONDS:
            self._tries = 0
        self._good_since = None
        seconds = min(self._longest, self._first * 2.0 ** min(self._tries, 60))
        digest = hashlib.sha256(f"{self._key}\0{self._tries}".encode("utf-8", "surrogatepass")).digest()
        self._tries += 1
        return seconds * (1 - _JITTER * int.from_bytes(digest[:4], "big") / 2**32)
