"""Segments of three videos that lie in the store in another order than the participant names them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from clap_vad.core.statistics.moments import Normaliser
from clap_vad.detector.source import SegmentSource
from clap_vad.features.store.reader import VideoIndex

MakeSource = Callable[..., SegmentSource]


def make(
    segments: int = 37,
    crops: int = 3,
    dim: int = 12,
    dtype: type = np.float32,
    valid: np.ndarray | None = None,
    normaliser: Normaliser | None = None,
    features: np.ndarray | None = None,
) -> SegmentSource:
    if features is None:
        features = np.random.default_rng(0).normal(size=(segments, crops, dim)).astype(dtype)
    segments, crops, dim = features.shape
    features.flags.writeable = False  # as the store's memory map
    store = SimpleNamespace(features=features, valid=valid, crops=crops, dim=dim, path=Path("x"))
    entries = [
        VideoIndex("a", 5, 20, 240, None),
        VideoIndex("b", 0, 5, 80, None),
        VideoIndex("c", 20, segments, 1, None),
    ]
    return SegmentSource(store, entries, normaliser)


@pytest.fixture
def make_source() -> MakeSource:
    """``make_source(segments, crops, dim, dtype, valid, normaliser, features)`` -> the segments."""
    return make
