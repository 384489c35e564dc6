"""Sums over a site's segments and videos: normalisation, CLAP's common density and its federated segregation."""

from __future__ import annotations

import numpy as np

from ...core.pseudo_labels.federated_mixture import STARTS
from ...core.statistics.possible import counted, moments, outer_products
from ..schema import Field, Message, Schema, Size

__all__ = ["COUNT", "SCHEMAS"]

COUNT = Field((), "int64", low=0)

_STANDARDISED = 2.0**24
"""Of sums over videos, numbers of order 1 each; a nearly empty component needs the finer fixed point."""


def _moments(message: Message, error: float) -> str | None:
    return moments(float(message["count"]), np.asarray(message["sum"]), np.asarray(message["sumsq"]), error)


def _root_mean_square(message: Message) -> np.ndarray:
    return np.sqrt(np.asarray(message["sumsq"], np.float64) / max(float(message["count"]), 1.0))


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
    return "it counts nothing, and has a mean or a variance" if none else None


def _summaries(message: Message, error: float) -> str | None:
    count, total, outer = (np.asarray(message[name], np.float64) for name in ("count", "sum", "outer"))
    if int(message["unlabelled"]) > int(message["count"]):
        return "more videos are without a label than there are"
    return outer_products(count, total, outer, error, centred=True)


def _responsible(message: Message) -> float:
    """Videos: the responsibilities of a start's components."""
    return float(np.asarray(message["responsibility"], np.float64)[0].sum())


def _mixture(message: Message, error: float) -> str | None:
    responsibility = np.asarray(message["responsibility"], np.float64)
    videos = _responsible(message)
    for start in responsibility[1:]:
        if counted(start, videos, error) is not None:
            return "its starts share out different numbers of videos"
    return outer_products(responsibility, np.asarray(message["sum"]), np.asarray(message["outer"]), error, centred=True)


SCHEMAS = (
    Schema(
        "feature_moments",
        {"count": COUNT, "sum": Field(("D",)), "sumsq": Field(("D",), low=0)},
        True,
        "normalisation: how many feature vectors, their sum and sum of squares per dimension",
        possible=_moments,
        size=Size("vectors", ("count", "sum", "sumsq"), all=True),
        scale=_root_mean_square,
    ),
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
        possible=_moments,
        size=Size("segments", ("count", "sum", "sumsq")),
        scale=_root_mean_square,
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
)
