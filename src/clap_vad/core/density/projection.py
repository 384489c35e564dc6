"""From a crop's features to the few standardised numbers whose density is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..statistics.moments import Normaliser
from ..statistics.randomness import keyed_generator
from .gaussian_mixture import CUT

__all__ = ["MOST_DIMENSIONS", "Projection"]

MOST_DIMENSIONS = 32
"""Of a density; wider features are projected at random, which keeps distances (Johnson and Lindenstrauss 1984)."""


@dataclass(frozen=True)
class Projection:
    """Which columns, how projected, how standardised.

    Attributes:
        columns: (m,) int64 of a feature vector.
        matrix: (m, d) float32, or None where all m are kept.
        normaliser: (d,) constants, or None before they are known.

    >>> wide = Projection.of(2048, None, seed=0)
    >>> wide.dim, wide.projected(np.ones((5, 2048), np.float32)).shape
    (32, (5, 32))
    """

    columns: np.ndarray
    matrix: np.ndarray | None
    normaliser: Normaliser | None = None

    @classmethod
    def of(cls, dim: int, columns: tuple[int, ...] | None, seed: int) -> Projection:
        """Of features of ``dim`` floats these columns, or all; the seed draws a projection where they are too many."""
        chosen = np.arange(dim) if columns is None else np.array(columns)
        if len(chosen) <= MOST_DIMENSIONS:
            return cls(chosen, None)
        rng = keyed_generator(seed, 0, "", "projection")
        drawn = rng.standard_normal((len(chosen), MOST_DIMENSIONS)) / np.sqrt(len(chosen))
        return cls(chosen, drawn.astype(np.float32))

    @property
    def dim(self) -> int:
        """d."""
        return len(self.columns) if self.matrix is None else int(self.matrix.shape[1])

    def standardised_by(self, normaliser: Normaliser) -> Projection:
        """The same with these constants."""
        return replace(self, normaliser=normaliser)

    def projected(self, x: np.ndarray) -> np.ndarray:
        """(n, D) features as (n, d) float32, not standardised."""
        chosen = x[:, self.columns].astype(np.float32)
        return chosen if self.matrix is None else chosen @ self.matrix

    def rows(self, x: np.ndarray) -> np.ndarray:
        """(n, D) features as (n, d) float32, standardised, cut at 15 deviations; as they are before that is known.

        An infinite number is no large one: it becomes NaN, as whatever is computed of it.
        """
        found = self.projected(x)
        if self.normaliser is None:
            return found
        found[np.isinf(found)] = np.nan
        found = self.normaliser.apply(found)
        return np.clip(found, -CUT, CUT, out=found)
