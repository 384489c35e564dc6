"""Description of the features of a store: needed by a model, and equal at all sites of a run."""

from __future__ import annotations

from typing import Any

from .reader import FeatureStore

__all__ = ["describe"]


def describe(store: FeatureStore) -> dict[str, Any]:
    """Extractor with settings, checksum of its weights, and sizes; contains nothing about videos."""
    return {
        "extractor": store.extractor,
        "settings": store.info.get("settings", {}),
        "weights_sha256": store.info.get("weights_sha256"),
        "segment_frames": store.segment_frames,
        "crops": store.crops,
        "dim": store.dim,
        "normalise": str(store.info.get("normalise", "none")),
    }
