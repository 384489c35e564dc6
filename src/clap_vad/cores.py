"""How much work may run side by side."""

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Processor cores this process may use, at least 1; fewer than the machine has where a container limits it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
