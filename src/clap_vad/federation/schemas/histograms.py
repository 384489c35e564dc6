"""Histograms of scores over fixed bins: the alarm threshold, and evaluation at the sites."""

from __future__ import annotations

import numpy as np

from ...core.statistics.histogram import BINS
from ..schema import Field, Message, Schema, Size

__all__ = ["SCHEMAS"]

_BINS = Field((BINS,), "int64", low=0)


def _scored(message: Message) -> float:
    return float(np.asarray(message["counts"], np.float64).sum())


SCHEMAS = (
    Schema(
        "score_histogram",
        {"counts": _BINS},
        True,
        "alarm threshold: how many training segments score in each of the fixed bins",
        size=Size("scores", ("counts",), _scored, all=True),
    ),
    Schema(
        "evaluation_histogram",
        {"normal": _BINS, "abnormal": _BINS},
        True,
        "evaluation: how many normal and abnormal frames of the site's own test videos score in each of the fixed bins",
    ),
)
