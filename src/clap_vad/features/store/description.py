"""What the features of a store are, without the store: what a model needs, and what sites must have in common."""

from __future__ import annotations

from typing import Any

from .reader import FeatureStore

__all__ = ["describe"]


def describe(store: FeatureStore) -> dict[str, Any]:
    """Extractor and its settings, checksum of its weights, sizes; nothing of any video."""
    return {
        "extractor": store.extractor,
        "settings": store.info.get("settings", {}),
        "weights_sha256": store.info.get("weights_sha256"),
        "segment_frames": store.segment_frames,
        "crops": store.crops,
        "dim": store.dim,
        "normalise": str(store.info.get("normalise", "none")),
    }
