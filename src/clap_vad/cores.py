"""The number of processor cores this process may use."""

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Number of processor cores this process may use, at least 1. A container may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
