"""COMET's sums over crops: its common density, step by step, and the scale of unlikeliness."""

from __future__ import annotations

from ...core.density import COMPONENTS
from ...core.surprise import SURPRISE_BINS
from ..schema import Field, Schema
from .statistics import COUNT

__all__ = ["SCHEMAS"]

SCHEMAS = (
    Schema(
        "density_statistics",
        {
            "mass": Field((COMPONENTS,), low=0, bound=2.0**30),
            "sum": Field((COMPONENTS, "D"), bound=2.0**34),
            "outer": Field((COMPONENTS, "DD"), bound=2.0**38),
            "likelihood": Field((), bound=2.0**38),
            "count": COUNT,
        },
        True,
        "common density, a step of EM: of each of its components the summed responsibility for the site's crops, the "
        "sum and the sum of products of their few standardised numbers weighted by it, nothing of one that holds fewer "
        "than 5 of them; the log likelihood and the number of all",
    ),
    Schema(
        "surprise_histograms",
        {name: Field((SURPRISE_BINS,), "int64", low=0) for name in ("common", "whole", "placeless", "memory")},
        True,
        "common scale: how many of the site's crops lie in each of the fixed bins of unlikeliness under the common "
        "density, under the site's own with and without positions, and of distance from the site's memory",
    ),
)
