"""Inverted dropout from raw random bits: Bernoulli draws would cost a quarter of a training step."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["DROPOUT", "Dropout"]

DROPOUT = 0.6
_WORD = 1 << 16


class Dropout:
    """Sets units to zero with a given probability, from 16 random bits per unit.

    Args:
        probability: of dropping a unit, 0 <= p < 1.
        rng: the only source of randomness.

    Attributes:
        scale: factor of kept units, 1 / (1 - p); the caller applies it in its next product.
    """

    def __init__(self, probability: float, rng: np.random.Generator) -> None:
        self._keep_below = round((1 - probability) * _WORD)
        self._rng = rng
        self.scale = _WORD / self._keep_below

    def keep(self, h: torch.Tensor) -> torch.Tensor:
        """A new mask of kept units, bool of the shape of ``h``."""
        words = self._rng.bit_generator.random_raw(-(-h.numel() // 4))
        if self._keep_below == _WORD:  # does not fit the comparison below
            return torch.ones(h.shape, dtype=torch.bool)
        # Comparing as int16 avoids a conversion of the bits.
        bits = torch.from_numpy(words.view(np.int16)[: h.numel()]).view(h.shape)
        return bits < self._keep_below - _WORD // 2

    def __call__(self, h: torch.Tensor) -> torch.Tensor:
        """Drop units of ``h`` in place, without scaling."""
        return h if self._keep_below == _WORD else h.mul_(self.keep(h))
