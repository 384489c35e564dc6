"""Projection of a region's features to the few standardised numbers whose density is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..statistics.moments import Normaliser
from ..statistics.randomness import keyed_generator
from .gaussian_mixture import CUT

__all__ = ["MOST_DIMENSIONS", "Projection"]

MOST_DIMENSIONS = 32
"""Most dimensions of a density; wider features are projected at random (Johnson and Lindenstrauss 1984)."""


@dataclass(frozen=True)
class Projection:
    """Selection of columns, random projection and standardisation.

    Attributes:
        columns: (m,) int64, columns of a feature vector.
        matrix: (m, d) float32, or None if all m columns are kept.
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
        """Projection of these columns (None: all) of ``dim`` features; too many are reduced by a random matrix."""
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
        """(n, D) features as (n, d) float32, standardised and clipped to 15 deviations if the constants are known.

        Infinite numbers become NaN instead of being clipped.
        """
        found = self.projected(x)
        if self.normaliser is None:
            return found
        found[np.isinf(found)] = np.nan
        found = self.normaliser.apply(found)
        return np.clip(found, -CUT, CUT, out=found)
