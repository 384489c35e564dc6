"""Plausibility checks of noisy sums over units, and limits on the influence of one site.

Every check takes the standard deviation of the noise on each entry of one site's message and allows for it: an honest
message is refused about once in a million. A check returns None, or the reason why the sums are implausible.
"""

from __future__ import annotations

import math

import numpy as np

from .bounded_density import SHARES
from .bounded_rows import plausible_counts

__all__ = ["bounded_tails", "histograms", "moments", "near_others", "steps"]

_ROOM = 6.0
"""Tolerance of a number, in standard deviations of its noise."""
_ROUNDING = 1e-6
_MARGIN = 3.0
_SEVERAL = 3
"""Least number of sites at which an outlier among them can be recognised."""
_SPREADS, _DEVIATIONS, _TIMES = 8.0, 2.0, 4.0
"""How far a site's mean may lie from the median of all sites: in median absolute deviations between sites, in standard
deviations of the numbers, and for a mean square as a multiple of its median."""


def histograms(counts: np.ndarray, noise: float) -> str | None:
    """Check (d, n) histograms; each row must count all units.

    >>> histograms(np.array([[3.0, 1.0], [0.0, 4.0]]), 0.0)
    >>> histograms(np.array([[3.0, 1.0], [0.0, 5.0]]), 0.0)
    'its histograms have different totals'
    """
    room = _ROOM * noise + _ROUNDING * float(np.abs(counts).max(initial=0.0))
    if (counts < -room).any():
        return "a count is below 0"
    each = counts.sum(axis=1)
    if (np.abs(each - each.mean()) > room * math.sqrt(counts.shape[1])).any():
        return "its histograms have different totals"
    return None


def moments(count: np.ndarray, mean: np.ndarray, square: np.ndarray, noise: float) -> str | None:
    """Check ``bounded_rows.moment_sums``: norms at most the count, no negative square."""
    held = max(float(count[0]), 0.0) * (1 + _ROUNDING)
    room = noise * (math.sqrt(len(mean)) + 2 * _ROOM)
    if (square < -_ROOM * noise - _ROUNDING * held).any():
        return "a sum of squares is below 0"
    if max(float(np.linalg.norm(part)) for part in (mean, square)) > held + room:
        return "its sums are larger than its count allows"
    return None


def steps(mass: np.ndarray, first: np.ndarray, second: np.ndarray, noise: float) -> str | None:
    """Check ``bounded_density.BoundedSums``: no negative mass, sums within the mass, no negative variance."""
    d, room = first.shape[1], _ROOM * noise + _ROUNDING * float(np.abs(mass).max(initial=0.0))
    if (mass < -room).any():
        return "a component has a negative mass"
    held = np.maximum(mass, 0.0) + room
    if (np.linalg.norm(first, axis=1) > held * SHARES[1] / SHARES[0] + noise * (math.sqrt(d) + _ROOM)).any():
        return "a component's sum is larger than its mass allows"
    i, j = np.triu_indices(d)
    products = np.empty((len(mass), d, d))
    products[:, i, j] = products[:, j, i] = second / np.where(i == j, 1.0, math.sqrt(2))
    values = np.linalg.eigvalsh(products)
    if (values[:, 0] < -noise * (2 * math.sqrt(d) + _ROOM) - _ROUNDING * held).any():
        return "a component has a negative variance"
    if (values.sum(axis=1) > held * SHARES[2] / SHARES[0] + noise * _ROOM * math.sqrt(d)).any():
        return "a component's products are larger than its mass allows"
    return None


def bounded_tails(parts: np.ndarray, noise: float) -> np.ndarray:
    """The sum of several sites' histograms, in which above every edge one site counts at most as much as all others.

    Only the plausible counts of the others are compared. With fewer than three sites it is the plain sum.

    Args:
        parts: (P, d, n) counts.
        noise: standard deviation of the noise on each count.

    Returns:
        (d, n).

    >>> bounded_tails(np.array([[[5.0, 1.0]], [[6.0, 0.0]], [[0.0, 9.0]]]), 0.0).tolist()
    [[19.0, 2.0]]
    """
    total = parts.sum(axis=0)
    if len(parts) < _SEVERAL:
        return np.asarray(total)
    deviation = noise * math.sqrt(len(parts) - 1)
    others = np.array([[plausible_counts(row, deviation) for row in total - part] for part in parts])
    above, most = (np.cumsum(counts[:, :, ::-1], axis=2) for counts in (parts, others))
    return np.asarray(np.diff(np.minimum(above, most).sum(axis=0), prepend=0.0, axis=1)[:, ::-1])


def near_others(
    mean: np.ndarray, square: np.ndarray, units: np.ndarray, noise: float, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """Limit sums of moments of several sites: each entry's mean over a site's units is clipped near the sites' median.

    The limits allow for differences between sites: a mean may differ by two standard deviations, a mean square by four
    times the median, and more if the sites differ more. With fewer than three sites nothing changes.

    Args:
        mean, square: (P, d) sums of :func:`~clap_vad.core.density.bounded_rows.moment_sums`.
        units: (P,) number of units of each site, at least 1.
        noise: standard deviation of the noise on each entry.
        most: as in these sums.

    Returns:
        The limited ``mean`` and ``square``, (P, d) each.
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
    """Sums whose means over units are clipped to their median plus or minus the larger of ``least`` and a multiple of
    their median absolute deviation."""
    means = parts / units[:, None]
    middle = np.median(means, axis=0)
    usual = np.median(np.abs(means - middle), axis=0)
    room = np.maximum(least, _SPREADS * usual) + _MARGIN * noise / units[:, None]
    near = np.clip(means, middle - room, middle + room)
    return np.asarray(np.where(near == means, parts, near * units[:, None]))
