"""COMET's sums over crops or videos, all with noise: sizes, moments, a density step by step, scales, peaks."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.density.bounded_rows import PEAK_BINS, SCALE_BINS, SIZE_BINS
from ...core.density.gaussian_mixture import COMPONENTS
from ..schema import Field, Schema

__all__ = ["RETIRED", "SCHEMAS"]

RETIRED = ("density_statistics", "surprise_histograms")
"""Exact sums of earlier releases, no longer sent; policies that name them stay readable."""

_NOISED = 2.0**24
"""Bound of sums over units of numbers of at most 1, with noise."""


def _sums(name: str, sizes: Mapping[str, tuple[int | str, ...]], noised: str, purpose: str) -> Schema:
    fields = {key: Field(shape, bound=_NOISED) for key, shape in sizes.items()}
    return Schema(name, fields, True, f"common density, noisy sums over crops or videos: {purpose}", noised=noised)


SCHEMAS = (
    _sums(
        "row_sizes",
        {"bins": ("D", SIZE_BINS)},
        "statistics",
        "how many of each of the few numbers of a crop lie between two powers of 2",
    ),
    _sums(
        "row_moments",
        {"count": (1,), "mean": ("D",), "square": ("D",)},
        "statistics",
        "1, each number, its square, of crops that are shortened to a bounded length",
    ),
    _sums(
        "row_density",
        {"mass": (COMPONENTS,), "first": (COMPONENTS, "D"), "second": (COMPONENTS, "DD")},
        "training",
        "a step of EM: of each component of the density the responsibility for the site's crops, and the crops and "
        "their products weighted by it, in the component's own units and shortened to a bounded length",
    ),
    _sums(
        "row_scales",
        {"common": (SCALE_BINS,), "whole": (SCALE_BINS,)},
        "statistics",
        "how many crops lie in each of the fixed bins of log-likelihood ratio under the common density, without and "
        "with their place in the picture",
    ),
    _sums(
        "segment_peaks",
        {"bins": (PEAK_BINS,)},
        "statistics",
        "alarm threshold of cameras that no site holds: how many segments have their largest surprise under the common "
        "density in each of 64 bins",
    ),
)
