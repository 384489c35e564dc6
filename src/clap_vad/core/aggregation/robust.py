"""Aggregation rules that are robust against a minority of malicious participants.

None of them weights by segments: a malicious participant could report a false count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

__all__ = ["coordinate_median", "krum_selection", "malicious_count", "trimmed_mean"]

_BLOCK = 1 << 13  # coordinates per block: 100 participants in float64 take 7 MB

Updates = Sequence[Mapping[str, np.ndarray]]


def malicious_count(share: float, n: int) -> int:
    """f, this share of n participants, rounded down and always less than half.

    >>> [malicious_count(0.2, n) for n in (4, 5, 10)], malicious_count(0.29, 100)
    ([0, 1, 2], 29)
    """
    return int(min(share * n + 1e-9, (n - 1) / 2))  # 0.29 * 100 is slightly below 29 in floating point


def coordinate_median(updates: Updates) -> dict[str, np.ndarray]:
    """Median over participants of every coordinate (Yin et al. 2018, definition 1).

    Args:
        updates: one mapping of arrays per participant, equal names and shapes; at least one.

    Returns:
        The median per name, float32. With fewer than half malicious it lies among the honest values.

    >>> coordinate_median([{"w": np.array([v])} for v in (0.0, 1.0, 1e9)])["w"].tolist()
    [1.0]
    """
    return _by_coordinate(updates, lambda values: np.median(values, axis=0))


def trimmed_mean(updates: Updates, malicious: int) -> dict[str, np.ndarray]:
    """Mean of every coordinate without its f smallest and f largest values (Yin et al. 2018, definition 2).

    Args:
        updates: as in :func:`coordinate_median`; n of them.
        malicious: f, n > 2 f.

    Returns:
        The mean per name, float32. With at most f malicious it lies among the honest values.

    Raises:
        ValueError: no value would be left.

    >>> trimmed_mean([{"w": np.array([v])} for v in (0.0, 1.0, 3.0, 1e9)], 1)["w"].tolist()
    [2.0]
    """
    n = len(updates)
    if n <= 2 * malicious:
        raise ValueError(f"{n} updates are too few to remove the {malicious} smallest and {malicious} largest values")
    return _by_coordinate(updates, lambda values: np.sort(values, axis=0)[malicious : n - malicious].mean(axis=0))


def krum_selection(updates: Updates, malicious: int) -> list[int]:
    """The n - f - 2 updates with the best Krum scores (Blanchard et al. 2017, section 4).

    The score of an update is the sum of its squared distances to the n - f - 2 others nearest to it; the smallest is
    the best, the first on ties.

    Args:
        updates: as in :func:`coordinate_median`; n of them.
        malicious: f, n >= 2 f + 3.

    Returns:
        Indices, ascending.

    Raises:
        ValueError: n is too small.

    >>> krum_selection([{"w": np.array([v])} for v in (0.0, 1.0, 1e9, 2.0, 3.0)], 1)
    [1, 3]
    """
    n, nearest = len(updates), len(updates) - malicious - 2
    if n < 2 * malicious + 3:
        raise ValueError(f"Krum needs {2 * malicious + 3} updates if {malicious} are malicious, but there are {n}")
    distances = np.zeros((n, n))
    for _, _, values in _blocks(updates):
        for i in range(n - 1):
            distances[i, i + 1 :] += np.square(values[i + 1 :] - values[i]).sum(axis=1)
    distances += distances.T
    np.fill_diagonal(distances, np.inf)
    scores = np.sort(distances, axis=1)[:, :nearest].sum(axis=1)
    return sorted(np.argsort(scores, kind="stable")[:nearest].tolist())


def _by_coordinate(updates: Updates, rule: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    result = {name: np.empty(array.size, np.float32) for name, array in updates[0].items()}
    for name, start, values in _blocks(updates):
        result[name][start : start + _BLOCK] = rule(values)
    return {name: flat.reshape(updates[0][name].shape) for name, flat in result.items()}


def _blocks(updates: Updates) -> Iterator[tuple[str, int, np.ndarray]]:
    """Blocks of coordinates of all participants: name, first coordinate, (n, at most _BLOCK) float64."""
    for name, array in updates[0].items():
        for start in range(0, array.size, _BLOCK):
            rows = [update[name].reshape(-1)[start : start + _BLOCK] for update in updates]
            yield name, start, np.array(rows, dtype=np.float64)
