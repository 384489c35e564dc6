"""Histograms of scores over fixed bins: the alarm threshold, and evaluation at the sites."""

from __future__ import annotations

from ...core.histogram import BINS
from ..schema import Field, Schema

__all__ = ["SCHEMAS"]

_BINS = Field((BINS,), "int64", low=0)

SCHEMAS = (
    Schema(
        "score_histogram",
        {"counts": _BINS},
        True,
        "alarm threshold: how many training segments score in each of the fixed bins",
    ),
    Schema(
        "evaluation_histogram",
        {"normal": _BINS, "abnormal": _BINS},
        True,
        "evaluation: how many normal and abnormal frames of the site's own test videos score in each of the fixed bins",
    ),
)
