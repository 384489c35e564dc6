"""Rows as people make them: what a fit of a density has to cope with."""

from __future__ import annotations

import numpy as np


def crowd(count: int, seed: int = 0) -> np.ndarray:
    """Walkers, runners, some who stand still, and a few slips far out; standardised and cut."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal([0.5, 0.0, 0.2], [0.4, 0.3, 1.0], (count, 3)),
        rng.normal([3.0, 0.5, -0.5], [1.0, 0.4, 0.5], (count // 8, 3)),
        np.column_stack([np.full(count // 5, -0.8), np.full(count // 5, -0.1), rng.normal(size=count // 5)]),
        rng.standard_cauchy((count // 50, 3)) * 5,
    ]
    return np.clip(rng.permutation(np.concatenate(parts)), -15, 15).astype(np.float32)
