"""Isolation of one participant's contribution from two sums that differ only by this participant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

__all__ = ["difference_of_means", "difference_of_sums", "relative_error", "smallest_differences"]


def difference_of_sums(with_it: Mapping[str, np.ndarray], without: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One participant's contribution to a sum, entry by entry.

    >>> float(difference_of_sums({"sum": np.array(7.0)}, {"sum": np.array(4.0)})["sum"])
    3.0
    """
    return {name: np.asarray(with_it[name], np.float64) - np.asarray(without[name], np.float64) for name in with_it}


def difference_of_means(
    with_it: Mapping[str, np.ndarray], without: Mapping[str, np.ndarray], counts: tuple[int, int]
) -> dict[str, np.ndarray]:
    """One participant's own mean from two means over segments.

    Args:
        with_it, without: means over all segments of two cohorts.
        counts: segments of each cohort; the first is larger.

    >>> mean = difference_of_means({"u": np.array(3.0)}, {"u": np.array(2.0)}, (4, 3))
    >>> float(mean["u"])
    6.0
    """
    more, fewer = counts
    if more <= fewer:
        raise ValueError("the cohort with the participant must have more segments")
    return {
        name: (more * np.asarray(with_it[name], np.float64) - fewer * np.asarray(without[name], np.float64))
        / (more - fewer)
        for name in with_it
    }


def relative_error(found: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray]) -> float:
    """``|found - true| / |true|`` over all entries as one vector; infinite if ``true`` is zero."""
    off = sum(float(np.square(np.asarray(found[name], np.float64) - true[name]).sum()) for name in true)
    size = sum(float(np.square(np.asarray(true[name], np.float64)).sum()) for name in true)
    return float(np.sqrt(off / size)) if size else float("inf")


def smallest_differences(cohorts: Iterable[Iterable[str]]) -> tuple[int, int | None]:
    """Number of different cohorts, and the smallest difference between two of them in participants (None for one).

    >>> smallest_differences([["a", "b", "c"], ["a", "b"], ["a", "b", "c"]])
    (2, 1)
    """
    sets = list({frozenset(cohort) for cohort in cohorts})
    sizes = [len(a ^ b) for i, a in enumerate(sets) for b in sets[:i]]
    return len(sets), min(sizes, default=None)
