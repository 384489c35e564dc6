"""A data-free prior for the detector: features far from the mean of standardised features are suspicious."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.statistics.randomness import keyed_generator
from .network import Weights, input_dim

__all__ = ["far_is_suspicious"]

_DRAWN, _FAR, _RIDGE = 4096, 2.0, 1e-3


def far_is_suspicious(weights: Mapping[str, np.ndarray], seed: int, rare: float) -> Weights:
    """An output layer, on the given hidden layers, that separates far vectors from others.

    It is fitted to random vectors, half from a standard normal distribution and half from one twice as wide; no real
    feature is used. It encodes the assumption of CLAP's first stage, that a large magnitude indicates an anomaly, and
    is the fallback if training adds only noise.

    Args:
        weights: weights of the detector; its hidden layers are kept.
        seed: seed of the run.
        rare: mean score of vectors that are not far; 0 < rare < 1.

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
