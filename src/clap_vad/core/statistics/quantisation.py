"""8-bit quantisation with stochastic rounding, which is unbiased."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_STEPS", "step_for", "stochastic_steps"]

MOST_STEPS = 127
"""Values are clipped to this many steps on either side of zero: 8 bits, symmetric."""

_STEP_PER_SCALE = 0.25
"""The tested step with the smallest error of the decoded mean update; no labels were used (docs/strategies.md)."""

_LEAST_STEP = 2.0**-30
"""Least step: parameters that were zero everywhere have no scale, but must still be able to change."""


def step_for(scale: float, parts: int = 1) -> np.float32:
    """The quantisation step for numbers whose mean is known.

    A participant's numbers are several times larger than the mean over all, with a few much larger ones: a step that is
    too large rounds most of them to noise, one that is too small clips the largest.

    Args:
        scale: root mean square of the mean.
        parts: 1 for numbers like the mean; P for numbers of which P add up to it.

    >>> float(step_for(0.5)), float(step_for(0.5, 4))
    (0.125, 0.03125)
    """
    return np.float32(max(_STEP_PER_SCALE * scale / parts, _LEAST_STEP))


def stochastic_steps(values: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    """``floor(x / step + u)``, u uniform in [0, 1), of values clipped to :data:`MOST_STEPS` steps.

    Unbiased except for clipping: the mean of ``step * result`` over u is x (Alistarh et al. 2017, QSGD, section 3.1).

    Args:
        values: any shape, finite.
        step: above 0.
        rng: draws u.

    Returns:
        int8 of the same shape.

    >>> stochastic_steps(np.array([1.0, -300.0, 0.5]), 0.5, np.random.default_rng(0)).tolist()
    [2, -127, 1]
    """
    steps = np.clip(np.asarray(values, np.float64) / step, -MOST_STEPS, MOST_STEPS)
    return np.floor(steps + rng.random(steps.shape)).astype(np.int8)
