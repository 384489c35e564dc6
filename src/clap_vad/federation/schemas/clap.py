"""CLAP: its common density and federated segregation; and all that leaves a site under differential privacy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.pseudo_labels.federated_mixture import STARTS
from ...core.pseudo_labels.private_statistics import SCORE_BINS
from ...core.statistics.possible import counted, outer_products
from ...detector.network import LAYERS, last_layers, weight_shapes
from ..schema import Field, Message, Schema, Size
from .shared import COUNT, moments_possible, root_mean_square, weight_fields

__all__ = ["SCHEMAS"]

_STANDARDISED = 2.0**24
"""Bound of sums over videos of numbers of order 1; a nearly empty component needs the finer fixed point."""

_NOISED = 2.0**24
"""Bound of sums over videos of numbers of at most 1, with noise."""
_NOISED_GRADIENT = 2.0**10


def _size_of_gaussian(message: Message) -> np.ndarray:
    return np.sqrt(np.square(np.float64(message["mean"])) + np.asarray(message["variance"], np.float64))


def _size_of_summaries(message: Message) -> np.ndarray:
    return np.sqrt(np.diag(np.asarray(message["outer"], np.float64)) / max(float(message["count"]), 1.0))


def _size_of_deviations(message: Message) -> np.ndarray:
    """Of each start and number, from the mean of the component that a video is of."""
    squares = np.einsum("rkii->ri", np.asarray(message["outer"], np.float64))
    return np.sqrt(np.maximum(squares, 0.0) / _responsible(message)).reshape(-1)


def _gaussian(message: Message, error: float) -> str | None:
    none = float(message["count"]) <= 0 and (abs(float(message["mean"])) > error or float(message["variance"]) > error)
    return "its count is 0, but it has a mean or a variance" if none else None


def _summaries(message: Message, error: float) -> str | None:
    count, total, outer = (np.asarray(message[name], np.float64) for name in ("count", "sum", "outer"))
    if int(message["unlabelled"]) > int(message["count"]):
        return "it counts more unlabelled videos than videos"
    return outer_products(count, total, outer, error, centred=True)


def _responsible(message: Message) -> float:
    """Videos: the responsibilities of a start's components."""
    return float(np.asarray(message["responsibility"], np.float64)[0].sum())


def _mixture(message: Message, error: float) -> str | None:
    responsibility = np.asarray(message["responsibility"], np.float64)
    videos = _responsible(message)
    for start in responsibility[1:]:
        if counted(start, videos, error) is not None:
            return "its starts distribute different numbers of videos"
    return outer_products(responsibility, np.asarray(message["sum"]), np.asarray(message["outer"]), error, centred=True)


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
    Schema(
        "normal_gaussian",
        {"count": COUNT, "mean": Field(()), "variance": Field((), low=0)},
        False,
        "common density, paper form: this site's own Gaussian of normal magnitudes (not a sum: the named exception)",
        possible=_gaussian,
        size=Size("segments", ("count",)),
        scale=_size_of_gaussian,
    ),
    Schema(
        "normal_moments",
        {"count": COUNT, "sum": Field(()), "sumsq": Field((), low=0)},
        True,
        "common density, pooled form: count, sum and sum of squares of normal magnitudes",
        possible=moments_possible,
        size=Size("segments", ("count", "sum", "sumsq")),
        scale=root_mean_square,
    ),
    Schema(
        "summary_moments",
        {"count": COUNT, "unlabelled": COUNT, "sum": Field((2,)), "outer": Field((2, 2), bound=2.0**48)},
        True,
        "federated segregation: how many videos, how many of them without a label, sum and sum of products of their "
        "summaries (largest rise, entropy); of a site with one video that is the video's own summary",
        possible=_summaries,
        size=Size("videos", ("count", "unlabelled", "sum", "outer"), all=True),
        scale=_size_of_summaries,
    ),
    Schema(
        "mixture_statistics",
        {
            "responsibility": Field((STARTS, 2), low=0, bound=_STANDARDISED),
            "sum": Field((STARTS, 2, 2), bound=_STANDARDISED),
            "outer": Field((STARTS, 2, 2, 2), bound=_STANDARDISED),
            "likelihood": Field((STARTS,), bound=_STANDARDISED),
        },
        True,
        "federated segregation, a step of EM: of each start and component the summed responsibility for the site's "
        "videos, the sum and the sum of products of their summaries weighted by it; each start's log likelihood",
        possible=_mixture,
        size=Size("videos", ("responsibility", "sum", "outer", "likelihood"), _responsible),
        scale=_size_of_deviations,
    ),
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
