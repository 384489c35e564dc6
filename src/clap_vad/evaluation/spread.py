"""Mean and standard deviation of results over seeds or participants, and their format."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

__all__ = ["NOTHING", "mean_and_std", "percent"]

NOTHING = "–"
"""Shown if there is no value."""


def mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator).

    The mean is None if any value is None (a mean over some seeds would not be comparable). The standard deviation is
    also None if there is only one value.

    >>> mean_and_std([0.7, 0.8])
    (0.75, 0.0707...)
    >>> mean_and_std([0.7]), mean_and_std([0.7, None])
    ((0.7, None), (None, None))
    """
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None


def percent(value: Any, spread: Any = None, nothing: str = NOTHING) -> str:
    """A fraction as percent with two decimals and its standard deviation, if given; ``nothing`` if it is not a number.

    >>> percent(0.78018), percent(None), percent(0.5, 0.0123)
    ('78.02', '–', '50.00 ± 1.23')
    """
    if not isinstance(value, (int, float)):
        return nothing
    return f"{100 * value:.2f}" + (f" ± {100 * spread:.2f}" if isinstance(spread, (int, float)) else "")
