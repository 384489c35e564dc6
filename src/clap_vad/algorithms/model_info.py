"""What stands in ``model.json``: which features a model takes, and where its scores lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.events.detection import DEFAULT_QUANTILE
from ..federation.ask import State
from .rounds import quantiles

__all__ = ["calibration_of", "model_info"]

_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)


def model_info(features: Mapping[str, Any], state: State) -> dict[str, Any]:
    """The description of a model.

    Args:
        features: as :func:`~clap_vad.features.store.description.describe` tells.
        state: holds the histogram of scores by which thresholds are chosen, ``score_histogram``.
    """
    return {
        "extractor": {"name": features["extractor"], "settings": features["settings"]},
        "weights_sha256": features["weights_sha256"],
        "segment_frames": features["segment_frames"],
        "crops": features["crops"],
        "dim": features["dim"],
        "calibration": calibration_of(state),
    }


def calibration_of(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Where scores lie: the threshold at the default quantile, and those at others.

    Args:
        state: holds ``score_histogram``: the coordinator's for a common model, a site's own for those of its homes.
    """
    levels = quantiles(state, _QUANTILES)
    threshold = levels.get(str(DEFAULT_QUANTILE))
    return {"quantile": DEFAULT_QUANTILE, "threshold": threshold, "quantiles": levels}
