"""A detector that knows of no data: what lies far from the mean of standardised features is suspicious."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.statistics.randomness import keyed_generator
from .network import Weights, input_dim

__all__ = ["far_is_suspicious"]

_DRAWN, _FAR, _RIDGE = 4096, 2.0, 1e-3


def far_is_suspicious(weights: Mapping[str, np.ndarray], seed: int, rare: float) -> Weights:
    """The output layer, over the hidden layers as they are, that tells far vectors from others.

    Half of the vectors it is fitted to are drawn from a standard normal distribution, the other half from one twice as
    wide; no feature of anybody is looked at. It is what CLAP's first stage assumes, magnitude as a sign of anomaly, and
    where training can add nothing but noise it is what remains.

    Args:
        weights: of the detector; its hidden layers are kept.
        seed: of the run.
        rare: score of a vector that is not far, on average; 0 < rare < 1.

    Returns:
        ``layer3.weight`` and ``layer3.bias``; logits of vectors that are not far have a standard deviation of 1.
    """
    rng = keyed_generator(seed, 0, "", "prior")
    z = rng.standard_normal((2 * _DRAWN, input_dim(weights))).astype(np.float32)
    z[_DRAWN:] *= _FAR
    for layer in ("layer1", "layer2"):
        z = np.maximum(z @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0.0)
    hidden = z.astype(np.float64)
    centred = hidden - hidden.mean(axis=0)
    target = np.repeat([-1.0, 1.0], _DRAWN)
    gram = centred.T @ centred
    ridge = _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    direction = np.linalg.solve(gram + ridge, centred.T @ target)
    near = hidden[:_DRAWN] @ direction
    direction /= max(float(near.std()), np.finfo(np.float64).tiny)
    bias = np.log(rare / (1 - rare)) - (hidden[:_DRAWN] @ direction).mean()
    return {"layer3.weight": direction.astype(np.float32)[None], "layer3.bias": np.full(1, bias, np.float32)}
