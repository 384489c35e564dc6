"""GCL's generator: the auto-encoder D-1024-512-256-512-1024-D on a segment's features (CVPR 2022, section 3.2).

ReLU after every layer except the last. The input is the segment's average over regions: the paper has one feature
vector per segment.
"""

from __future__ import annotations

import itertools

from ..core.statistics.randomness import keyed_generator
from .network import Weights, xavier_uniform

__all__ = ["GENERATOR", "generator_shapes", "initial_generator"]

GENERATOR = "generator."
_HIDDEN = (1024, 512, 256, 512, 1024)


def generator_shapes(dim: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the generator's weights for D input features.

    >>> generator_shapes(2048)["generator.layer1.weight"], generator_shapes(2048)["generator.layer6.bias"]
    ((1024, 2048), (2048,))
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise((dim, *_HIDDEN, dim)), start=1):
        shapes[f"{GENERATOR}layer{layer}.weight"] = (fan_out, fan_in)
        shapes[f"{GENERATOR}layer{layer}.bias"] = (fan_out,)
    return shapes


def initial_generator(dim: int, seed: int) -> Weights:
    """Xavier-uniform weights and zero biases, as in the detector."""
    return xavier_uniform(generator_shapes(dim), keyed_generator(seed, 0, "", "initial generator"))
