"""Sums over videos with noise: all that leaves a site under differential privacy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.pseudo_labels.private_statistics import SCORE_BINS
from ...detector.network import LAYERS, last_layers, weight_shapes
from ..schema import Field, Message, Schema
from .updates import weight_fields

__all__ = ["SCHEMAS"]

_NOISED = 2.0**24
"""Of sums over videos of numbers of at most 1, with their noise."""
_NOISED_GRADIENT = 2.0**10


def _statistics(name: str, sizes: Mapping[str, tuple[int | str, ...]], purpose: str) -> Schema:
    fields = {key: Field(shape, low=-_NOISED, high=_NOISED, bound=_NOISED) for key, shape in sizes.items()}
    return Schema(name, fields, True, "differential privacy, " + purpose, noised="statistics")


def _norm(message: Message) -> np.ndarray:
    return np.sqrt(
        np.sum([np.square(np.asarray(value, np.float64)).sum() for value in message.values()], keepdims=True)
    )


def _gradient(layers: int) -> Schema:
    shapes = {name: weight_shapes(0)[name] for name in last_layers(weight_shapes(0), layers)}
    return Schema(
        f"private_gradient_{layers}",
        weight_fields("gradient", shapes, bound=_NOISED_GRADIENT),
        True,
        "differential privacy, training: noisy sum over the videos drawn in a round of their clipped gradients, with "
        f"respect to the last {layers} of {LAYERS} layers",
        noised="training",
        scale=_norm,
    )


SCHEMAS = (
    _statistics(
        "private_scales",
        {"count": (1,), "overall": (1,), "apart": ("D",)},
        "normalisation: noisy sums over videos of 1, of the logarithm of the features' size, of each dimension's from "
        "it",
    ),
    _statistics(
        "private_moments",
        {"count": (1,), "mean": ("D",), "square": ("D",)},
        "normalisation: noisy sums over videos of 1, of the clipped mean and of the clipped mean square per dimension",
    ),
    _statistics(
        "private_centre",
        {"count": (1,), "pair": (2,)},
        "segregation: noisy sums over videos of 1 and of the clipped pair (logarithm of the largest rise, entropy)",
    ),
    _statistics(
        "private_mixture",
        {"responsibility": (2,), "sum": (2, 2), "outer": (2, 2, 2)},
        "segregation, a step of EM: noisy sums over videos of responsibilities, and of clipped pairs weighted by them",
    ),
    _statistics(
        "private_gaussian",
        {"count": (1,), "magnitude": (1,), "square": (1,)},
        "common density: noisy sums over normal videos of 1, of the clipped mean and mean square of their magnitudes",
    ),
    _statistics(
        "private_scores",
        {"bins": (SCORE_BINS,)},
        "alarm threshold: noisy sums over videos of the shares of their segments that score in each of 16 bins",
    ),
    *(_gradient(layers) for layers in range(1, LAYERS + 1)),
)
