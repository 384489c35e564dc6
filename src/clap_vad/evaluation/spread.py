"""Mean and standard deviation of results over seeds or participants."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["mean_and_std"]


def mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator).

    The mean is None where any value is None (a mean over some of the seeds would not be comparable), the deviation
    also where there is one value only.

    >>> mean_and_std([0.7, 0.8])
    (0.75, 0.0707...)
    >>> mean_and_std([0.7]), mean_and_std([0.7, None])
    ((0.7, None), (None, None))
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None
