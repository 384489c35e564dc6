"""Whether noisy sums over units can be true, and how little one place's may move those of many.

Every function that looks for a lie takes the standard deviation of the noise on each entry of one place's message and
leaves room for it: an honest message is called impossible about once in a million. It returns None, or why in words.
"""

from __future__ import annotations

import math

import numpy as np

from .bounded_density import SHARES
from .bounded_rows import believed

__all__ = ["bounded_tails", "histograms", "moments", "near_others", "steps"]

_ROOM = 6.0
"""Deviations of its noise that a number may be off."""
_ROUNDING = 1e-6
_MARGIN = 3.0
_SEVERAL = 3
"""Places from which on one can be told from the others."""
_SPREADS, _DEVIATIONS, _TIMES = 8.0, 2.0, 4.0
"""How far from the median of all places a place's mean is taken as it is: in median absolute deviations of places, in
standard deviations of numbers, of a mean square in times its median."""


def histograms(counts: np.ndarray, noise: float) -> str | None:
    """Of (d, n) counts of the same units, each row over all of them.

    >>> histograms(np.array([[3.0, 1.0], [0.0, 4.0]]), 0.0)
    >>> histograms(np.array([[3.0, 1.0], [0.0, 5.0]]), 0.0)
    'its histograms are of different numbers of crops'
    """
    room = _ROOM * noise + _ROUNDING * float(np.abs(counts).max(initial=0.0))
    if (counts < -room).any():
        return "a count is below 0"
    each = counts.sum(axis=1)
    if (np.abs(each - each.mean()) > room * math.sqrt(counts.shape[1])).any():
        return "its histograms are of different numbers of crops"
    return None


def moments(count: np.ndarray, mean: np.ndarray, square: np.ndarray, noise: float) -> str | None:
    """Of ``bounded_rows.moment_sums``: lengths of at most the count's, no square below 0."""
    held = max(float(count[0]), 0.0) * (1 + _ROUNDING)
    room = noise * (math.sqrt(len(mean)) + 2 * _ROOM)
    if (square < -_ROOM * noise - _ROUNDING * held).any():
        return "a sum of squares is below 0"
    if max(float(np.linalg.norm(part)) for part in (mean, square)) > held + room:
        return "its sums are longer than its count allows"
    return None


def steps(mass: np.ndarray, first: np.ndarray, second: np.ndarray, noise: float) -> str | None:
    """Of ``bounded_density.BoundedSums``: no mass below 0, sums within it, no negative variance."""
    d, room = first.shape[1], _ROOM * noise + _ROUNDING * float(np.abs(mass).max(initial=0.0))
    if (mass < -room).any():
        return "a component holds less than nothing"
    held = np.maximum(mass, 0.0) + room
    if (np.linalg.norm(first, axis=1) > held * SHARES[1] / SHARES[0] + noise * (math.sqrt(d) + _ROOM)).any():
        return "a component's sum is longer than what it holds"
    i, j = np.triu_indices(d)
    products = np.empty((len(mass), d, d))
    products[:, i, j] = products[:, j, i] = second / np.where(i == j, 1.0, math.sqrt(2))
    values = np.linalg.eigvalsh(products)
    if (values[:, 0] < -noise * (2 * math.sqrt(d) + _ROOM) - _ROUNDING * held).any():
        return "a component has a negative variance"
    if (values.sum(axis=1) > held * SHARES[2] / SHARES[0] + noise * _ROOM * math.sqrt(d)).any():
        return "a component's products are larger than what it holds"
    return None


def bounded_tails(parts: np.ndarray, noise: float) -> np.ndarray:
    """The sum of several places' histograms, in which above every edge one counts at most as much as all others.

    As much as can be believed of theirs, that is. With fewer than three places it is the sum.

    Args:
        parts: (P, d, n) counts.
        noise: standard deviation on each.

    Returns:
        (d, n).

    >>> bounded_tails(np.array([[[5.0, 1.0]], [[6.0, 0.0]], [[0.0, 9.0]]]), 0.0).tolist()
    [[19.0, 2.0]]
    """
    total = parts.sum(axis=0)
    if len(parts) < _SEVERAL:
        return np.asarray(total)
    deviation = noise * math.sqrt(len(parts) - 1)
    others = np.array([[believed(row, deviation) for row in total - part] for part in parts])
    above, most = (np.cumsum(counts[:, :, ::-1], axis=2) for counts in (parts, others))
    return np.asarray(np.diff(np.minimum(above, most).sum(axis=0), prepend=0.0, axis=1)[:, ::-1])


def near_others(
    mean: np.ndarray, square: np.ndarray, units: np.ndarray, noise: float, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of moments of several places, each entry's mean over a place's units brought near the median of all places.

    Places differ, so there is room: for a mean two standard deviations of what is usual, for a mean square four times
    the usual one, and more where they differ more. With fewer than three places nothing changes.

    Args:
        mean, square: (P, d) sums of :func:`~clap_vad.core.density.bounded_rows.moment_sums`.
        units: (P,) over how many units each is, at least 1.
        noise: standard deviation on each entry.
        most: as in these sums.

    Returns:
        Both, (P, d).
    """
    if len(units) < _SEVERAL:
        return mean, square
    share, d = 1 / math.sqrt(3), mean.shape[1]
    first, second = most * math.sqrt(d) / share, most**2 * math.sqrt(d) / share  # to root mean squares
    usual, usual_square = (np.median(part / units[:, None], axis=0) for part in (mean, square))
    deviation = np.sqrt(np.maximum(usual_square * second - np.square(usual * first), 0.0))
    return (
        _near(mean, units, noise, _DEVIATIONS * deviation / first),
        _near(square, units, noise, _TIMES * np.abs(usual_square)),
    )


def _near(parts: np.ndarray, units: np.ndarray, noise: float, least: np.ndarray) -> np.ndarray:
    """Sums whose means over units lie within so much of their median, or within so many times what is usual."""
    means = parts / units[:, None]
    middle = np.median(means, axis=0)
    usual = np.median(np.abs(means - middle), axis=0)
    room = np.maximum(least, _SPREADS * usual) + _MARGIN * noise / units[:, None]
    near = np.clip(means, middle - room, middle + room)
    return np.asarray(np.where(near == means, parts, near * units[:, None]))
