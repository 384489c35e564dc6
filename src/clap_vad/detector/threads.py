"""A fixed number of CPU threads. Changing it may change the last bits of results, because it orders sums."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

__all__ = ["fixed_threads", "one_thread_each", "torch_threads"]


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Use ``count`` torch threads inside the block, and restore the number after it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """The same for torch and for numpy's linear algebra."""
    with torch_threads(count), threadpool_limits(count):
        yield


_LOCK = threading.Lock()
_BEFORE = contextlib.ExitStack()
_inside = 0


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """The same with one thread, for pieces of work that overlap within a process: the last one restores the number."""
    global _inside
    with _LOCK:
        if not _inside:
            _BEFORE.enter_context(fixed_threads(1))
        _inside += 1
        torch.set_num_threads(1)  # a part of this setting is each thread's own
    try:
        yield
    finally:
        with _LOCK:
            _inside -= 1
            if not _inside:
                _BEFORE.close()
