"""Numbers as whole steps of eight bits: rounded at random, so that they are right on average."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_STEPS", "step_for", "stochastic_steps"]

MOST_STEPS = 127
"""Values of more steps than this are clipped: one of 8 bits, and as many below zero as above."""

_STEP_PER_SCALE = 0.25
"""Chosen by no label: of the steps tried, the one at which decoded mean updates were least off (docs/strategies.md)."""

_LEAST_STEP = 2.0**-30
"""A number that was zero for all has no scale, and must be able to become another one again."""


def step_for(scale: float, parts: int = 1) -> np.float32:
    """The step for numbers of which one mean is known.

    A participant's numbers are some times larger than the mean over all, and few are much larger than the rest: a step
    too large rounds most of them to noise, one too small clips the largest.

    Args:
        scale: root mean square of the mean.
        parts: 1 for numbers like the mean; P for those of which P add up to it.

    >>> float(step_for(0.5)), float(step_for(0.5, 4))
    (0.125, 0.03125)
    """
    return np.float32(max(_STEP_PER_SCALE * scale / parts, _LEAST_STEP))


def stochastic_steps(values: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    """``floor(x / step + u)``, u uniform in [0, 1), of values clipped to :data:`MOST_STEPS` steps.

    What is not clipped is right on average: the mean of ``step * result`` over u is x (Alistarh et al. 2017, QSGD,
    section 3.1).

    Args:
        values: any shape, finite.
        step: above 0.
        rng: gives u.

    Returns:
        int8 of the same shape.

    >>> stochastic_steps(np.array([1.0, -300.0, 0.5]), 0.5, np.random.default_rng(0)).tolist()
    [2, -127, 1]
    """
    steps = np.clip(np.asarray(values, np.float64) / step, -MOST_STEPS, MOST_STEPS)
    return np.floor(steps + rng.random(steps.shape)).astype(np.int8)
