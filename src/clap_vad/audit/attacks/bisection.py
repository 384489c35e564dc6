"""Attack: find extreme rows by bisection and count rows beyond a threshold, with questions that sites accept.

The normalisation is honest, and means and variances are within the accepted range. Slabs along one dimension count the
rows in each interval; then a distant component takes all rows beyond a threshold. When only one row is beyond the
threshold, its sum reveals that row: the fastest or tallest person, or the one furthest to the left.
"""

from __future__ import annotations

import numpy as np

from ...core.density.bounded_density import BoundedSums
from ...core.density.gaussian_mixture import COMPONENTS, CUT, LEAST_VARIANCE, Mixture
from .cells import CellSums, padded

__all__ = ["ExtremeSearch", "directions", "exact_parts", "extreme_rows", "halves", "slabs"]

_TRIES = 8
"""Number of thresholds to try per direction."""

_PROFILES = 3
"""With noise one third of all questions is for the slabs, and the rest for one threshold."""

_SLACK, _WITHIN = CUT / 32, 0.9
_EDGES = np.linspace(-CUT, CUT, COMPONENTS + 1)


def directions(dim: int) -> np.ndarray:
    """(2 d, d) unit vectors: the positive direction of each dimension, then the negative ones.

    >>> directions(2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    """
    return np.concatenate([np.eye(dim), -np.eye(dim)]) + 0.0


def extreme_rows(rows: np.ndarray) -> np.ndarray:
    """(m, d) the distinct rows that lie furthest along any direction."""
    found: np.ndarray = rows[np.unique((rows @ directions(rows.shape[1]).T).argmax(axis=0))]
    return found


def slabs(along: np.ndarray) -> Mixture:
    """One adjoining slab per component along a (d,) unit vector, wide in all other directions."""
    middles = (_EDGES[:-1] + _EDGES[1:]) / 2
    covariance = CUT**2 * np.eye(len(along)) - (CUT**2 - LEAST_VARIANCE) * np.outer(along, along)
    weights = np.full(COMPONENTS, 1 / COMPONENTS)
    return Mixture(weights, middles[:, None] * along, np.tile(covariance, (COMPONENTS, 1, 1)))


def halves(along: np.ndarray, threshold: float, radius: float | None = None) -> Mixture:
    """Two components that separate rows at a threshold along a unit vector; the second takes the rows beyond it.

    Args:
        along: (d,).
        threshold: within the clipping range.
        radius: R of the sums, chosen so that rows slightly beyond the threshold are not clipped; None for the sharpest
            edge.
    """
    reach, wide = CUT - abs(threshold), LEAST_VARIANCE
    if radius is not None:
        reach, wide = min(reach, _WITHIN * radius * LEAST_VARIANCE**0.5), CUT**2
    means = np.outer([threshold - reach, threshold + reach], along)
    covariance = wide * np.eye(len(along)) - (wide - LEAST_VARIANCE) * np.outer(along, along)
    return padded(Mixture(np.full(2, 0.5), means, np.tile(covariance, (2, 1, 1))))


class ExtremeSearch:
    """Searches for the furthest row in one direction after the other.

    Args:
        dim: d.
        radius: R of the sums.
        exact: True if the sums have no noise.
        questions: number of allowed questions; with noise all are used for the first direction.
    """

    def __init__(self, dim: int, radius: float, exact: bool, questions: int) -> None:
        self._radius, self._exact = radius, exact
        self._profiles = 1 if exact else max(questions // _PROFILES, 1)
        self._along = list(directions(dim))
        self._asked = slabs(self._along[0])
        self._range: tuple[float, float] | None = None  # interval of the furthest row, found with the slabs
        self._kept: list[BoundedSums] = []
        self._tries = 0
        self._found: list[np.ndarray] = []

    def question(self) -> Mixture:
        """The next mixture."""
        along = self._along[0]
        radius = self._radius if self._exact else None
        self._asked = slabs(along) if self._range is None else halves(along, self._threshold(), radius)
        return self._asked

    def _threshold(self) -> float:
        assert self._range is not None
        return sum(self._range) / 2 if self._exact else self._range[0]

    def answered(self, sums: BoundedSums) -> None:
        """Use the answer to the last question."""
        self._kept.append(sums)
        if self._range is None:
            if len(self._kept) == self._profiles:
                self._profiled()
        elif self._exact:
            self._bisected(CellSums(self._asked, sums, self._radius))

    @property
    def guesses(self) -> np.ndarray:
        """(n, d) estimates of the furthest rows."""
        if not self._exact and self._range is not None and self._kept:
            found = CellSums(self._asked, _mean(self._kept), self._radius)
            return self._row(found.first[1] / max(float(found.mass[1]), 1.0))[None]
        return np.array(self._found).reshape(-1, len(self._along[0]))

    def _profiled(self) -> None:
        found = CellSums(self._asked, _mean(self._kept), self._radius)
        beyond = np.cumsum(found.mass[::-1])[::-1]
        top = int(np.flatnonzero(beyond >= 0.5)[-1]) if (beyond >= 0.5).any() else 0
        self._kept = []
        row = found.opened(top, whole=True) if self._exact else np.zeros((0, 1))
        if len(row) == 1:
            self._next(row[0])
        elif any(float(known @ self._along[0]) >= _EDGES[top] for known in self._found):
            self._next(None)  # the same row may be extreme in several directions
        else:
            low, high = float(_EDGES[top]), float(_EDGES[top + 1])
            self._range = (max(low - _SLACK, -CUT + _SLACK), min(high + _SLACK, CUT - 1e-9))

    def _bisected(self, found: CellSums) -> None:
        assert self._range is not None
        (low, high), threshold = self._range, self._threshold()
        self._tries += 1
        row = found.opened(1, whole=True)
        if len(row) == 1 or self._tries == _TRIES:
            self._next(row[0] if len(row) == 1 else None)
        else:
            self._range = (threshold, high) if found.mass[1] > 0.5 else (low, threshold)

    def _next(self, row: np.ndarray | None) -> None:
        if row is not None:
            self._found.append(row)
        self._along.append(self._along.pop(0))
        self._range, self._tries, self._kept = None, 0, []

    def _row(self, z: np.ndarray) -> np.ndarray:
        """Undo the clipping of a row in the second component's coordinates; its distance is known from the interval."""
        assert self._range is not None
        along, mean = self._along[0], self._asked.means[1]
        out = float(z @ along)
        factor = (sum(self._range) / 2 - float(mean @ along)) / out if abs(out) > 1e-9 else 0.0
        return np.clip(mean + z * factor, -CUT, CUT)


def exact_parts(counts: np.ndarray, true: int) -> float:
    """Fraction of the counts that equal the true one after rounding.

    >>> exact_parts(np.array([1.6, 2.2, 3.0]), 2)
    0.6666666666666666
    """
    return float((np.rint(counts) == true).mean())


def _mean(sums: list[BoundedSums]) -> BoundedSums:
    total = sums[0]
    for each in sums[1:]:
        total = total + each
    return total.times(1 / len(sums))
