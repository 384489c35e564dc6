"""Contents of ``model.json``: the features of a model, and the distribution of its scores."""

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
        features: as returned by :func:`~clap_vad.features.store.description.describe`.
        state: contains ``score_histogram``, the histogram of scores from which thresholds are chosen.
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
    """Thresholds of scores: at the default quantile and at others.

    Args:
        state: contains ``score_histogram``: the coordinator's state for the common model, a site's state for its
            personalised models.
    """
    levels = quantiles(state, _QUANTILES)
    threshold = levels.get(str(DEFAULT_QUANTILE))
    return {"quantile": DEFAULT_QUANTILE, "threshold": threshold, "quantiles": levels}
