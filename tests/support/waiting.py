"""Waiting for what another process or thread does, for as long as a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LIMIT", "until"]

T = TypeVar("T")

LIMIT = 180.0
"""Seconds after which something will not come any more: so many that no test depends on how fast the machine is."""


def until(condition: Callable[[], T], what: str = "", limit: float = LIMIT) -> T:
    """Ask again and again, until what ``condition`` returns is true; returns that.

    Args:
        condition: may raise AssertionError, to end the waiting where what is waited for cannot come any more.
        what: for the error.

    Raises:
        AssertionError: it did not come.
    """
    end = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what or condition}"
        time.sleep(0.01)
    return found
