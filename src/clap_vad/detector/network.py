"""The segment detector, shared by the methods: D -> 512 -> 32 -> 1, applied to each region.

ReLU and dropout 0.6 after the first two layers, a sigmoid at the end (Sultani et al. 2018; CLAP, CVPR 2024). The two
attention layers of the released code are left out: its ``forward`` never uses them, and they double the upload.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

import numpy as np

from ..core.statistics.randomness import keyed_generator

__all__ = [
    "HIDDEN",
    "LAYERS",
    "Weights",
    "detector_weights",
    "initial_weights",
    "input_dim",
    "last_layers",
    "weight_shapes",
    "xavier_uniform",
]

HIDDEN = (512, 32)
LAYERS = len(HIDDEN) + 1

Weights = dict[str, np.ndarray]
"""``layer1.weight`` (512, D), ``layer1.bias`` (512,), ... ``layer3.bias`` (1,), all float32."""


def weight_shapes(dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the detector's weights for D input features.

    >>> weight_shapes(2048)["layer1.weight"]
    (512, 2048)
    """
    sizes = (dim, *HIDDEN, 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
        shapes[f"layer{layer}.weight"] = (fan_out, fan_in)
        shapes[f"layer{layer}.bias"] = (fan_out,)
    return shapes


def initial_weights(dim: int, seed: int) -> Weights:
    """Xavier-uniform weights (Glorot and Bengio 2010, eq. 16) and zero biases.

    >>> bool(initial_weights(4, seed=0)["layer1.bias"].any())
    False
    """
    return xavier_uniform(weight_shapes(dim), keyed_generator(seed, 0, "", "initial weights"))


def xavier_uniform(shapes: Mapping[str, tuple[int, ...]], rng: np.random.Generator) -> Weights:
    """Weights of these shapes (Glorot and Bengio 2010, eq. 16), drawn in this order; biases (one axis) are zero."""
    weights: Weights = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            weights[name] = np.zeros(shape, dtype=np.float32)
        else:
            bound = np.sqrt(6.0 / (shape[0] + shape[1]))
            weights[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return weights


def detector_weights(weights: Mapping[str, np.ndarray]) -> Weights:
    """The detector's weights among all weights of a method, by name."""
    return {name: weights[name] for name in weight_shapes(0) if name in weights}


def last_layers(names: Iterable[str], count: int) -> list[str]:
    """Names of the weights of the detector's last layers, in order.

    >>> last_layers(weight_shapes(4), 1)
    ['layer3.weight', 'layer3.bias']
    """
    first = LAYERS - count
    return [name for name in names if int(name.removeprefix("layer").split(".")[0]) > first]


def input_dim(weights: Mapping[str, np.ndarray]) -> int:
    """D, the number of features per region."""
    return int(weights["layer1.weight"].shape[1])
