"""Signals that stop a service: Ctrl-C, or the one that systemd sends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

__all__ = ["until_stopped"]


@contextlib.contextmanager
def until_stopped() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns True once the process was asked to end."""
    asked = threading.Event()
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
