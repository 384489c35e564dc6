"""Sums over a site's segments and videos: normalisation, CLAP's common density and its federated segregation."""

from __future__ import annotations

from ...core.federated_mixture import STARTS
from ..schema import Field, Schema

__all__ = ["COUNT", "SCHEMAS"]

COUNT = Field((), "int64", low=0)

_STANDARDISED = 2.0**24
"""Of sums over videos, numbers of order 1 each; a nearly empty component needs the finer fixed point."""

SCHEMAS = (
    Schema(
        "feature_moments",
        {"count": COUNT, "sum": Field(("D",)), "sumsq": Field(("D",), low=0)},
        True,
        "normalisation: how many feature vectors, their sum and sum of squares per dimension",
    ),
    Schema(
        "normal_gaussian",
        {"count": COUNT, "mean": Field(()), "variance": Field((), low=0)},
        False,
        "common density, paper form: this site's own Gaussian of normal magnitudes (not a sum: the named exception)",
    ),
    Schema(
        "normal_moments",
        {"count": COUNT, "sum": Field(()), "sumsq": Field((), low=0)},
        True,
        "common density, pooled form: count, sum and sum of squares of normal magnitudes",
    ),
    Schema(
        "summary_moments",
        {"count": COUNT, "unlabelled": COUNT, "sum": Field((2,)), "outer": Field((2, 2), bound=2.0**48)},
        True,
        "federated segregation: how many videos, how many of them without a label, sum and sum of products of their "
        "summaries (largest rise, entropy); of a site with one video that is the video's own summary",
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
    ),
)
