"""Check that a method suits the features it is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..algorithms.method import DEFAULT_METHOD, Method
from ..features.extraction.extractor import EXTRACTORS, roles_of

__all__ = ["feature_remarks"]


def feature_remarks(
    method: Method | type[Method], name: str, features: Mapping[str, Any], absent_crops: bool = False
) -> list[str]:
    """Warnings about a method on these features, as sentences; empty if it suits them.

    Args:
        method, name: the method.
        features: as returned by :func:`~clap_vad.features.store.description.describe`.
        absent_crops: True if the store has invalid crops, as only those of persons and objects have.
    """
    extractor, settings = str(features["extractor"]), dict(features.get("settings") or {})
    single = absent_crops or roles_of(extractor, settings).followed
    if not (method.follows_segments and single and int(features["crops"]) > 1):
        return []
    whole = EXTRACTORS[extractor].whole_segments if extractor in EXTRACTORS.names() else {}
    form = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in whole.items())
    remedy = f"extract with '--extractor {extractor} {form}', or take" if form else "take"
    return [
        f"{name} scores segments as wholes, but these features ({extractor}) are of single persons or objects, where "
        f"it can fall below chance; {remedy} --method {DEFAULT_METHOD}, which scores each person or object"
    ]
