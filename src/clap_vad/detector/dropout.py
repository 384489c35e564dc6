"""Inverted dropout from raw random words: a Bernoulli call would cost a quarter of a training step."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["DROPOUT", "Dropout"]

DROPOUT = 0.6
_WORD = 1 << 16


class Dropout:
    """Sets units to zero with a given probability, to the precision of 16 random bits a unit.

    Args:
        probability: of dropping a unit, 0 <= p < 1.
        rng: the only source of randomness.

    Attributes:
        scale: what kept units are to be multiplied by, 1 / (1 - p); left to the caller's next product.
    """

    def __init__(self, probability: float, rng: np.random.Generator) -> None:
        self._keep_below = round((1 - probability) * _WORD)
        self._rng = rng
        self.scale = _WORD / self._keep_below

    def keep(self, h: torch.Tensor) -> torch.Tensor:
        """Which units of ``h`` are kept this time, a bool of its shape."""
        words = self._rng.bit_generator.random_raw(-(-h.numel() // 4))
        if self._keep_below == _WORD:  # does not fit the comparison below
            return torch.ones(h.shape, dtype=torch.bool)
        # Shifting the word's range to int16 keeps the comparison in the type the bits come in.
        bits = torch.from_numpy(words.view(np.int16)[: h.numel()]).view(h.shape)
        return bits < self._keep_below - _WORD // 2

    def __call__(self, h: torch.Tensor) -> torch.Tensor:
        """Drop units of ``h`` in place, without scaling."""
        return h if self._keep_below == _WORD else h.mul_(self.keep(h))
