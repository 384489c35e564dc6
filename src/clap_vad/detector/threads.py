"""A fixed number of processor threads for a piece of work: it orders sums, so it is part of a result's identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits

__all__ = ["fixed_threads", "torch_threads"]


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch work with ``count`` threads inside the block, and with as many as before behind it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """The same for torch and for the linear algebra under numpy."""
    with torch_threads(count), threadpool_limits(count):
        yield
