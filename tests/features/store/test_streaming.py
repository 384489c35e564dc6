"""Passes over videos in blocks against loops over single segments, wherever the blocks end."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from clap_vad.core.statistics.moments import Moments, Normaliser
from clap_vad.errors import ClapError
from clap_vad.features.store import streaming
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter

CROPS, DIM = 3, 5
LENGTHS = {"one": 1, "two": 2, "ten": 10, "eleven": 11}
NORMALISER = Normaliser.from_moments(Moments.of(np.random.default_rng(3).normal(1, 2, (50, DIM))))


def make_store(path: Path, dtype: str = "float32", absent: bool = False) -> FeatureStore:
    rng = np.random.default_rng(0)
    with StoreWriter(
        path, extractor="test", settings={}, crops=CROPS, dim=DIM, dtype=dtype, with_valid=absent, normalise="none"
    ) as writer:
        for video, length in LENGTHS.items():
            x = rng.normal(2, 1, (length, CROPS, DIM)).astype(np.float32)
            valid = rng.random((length, CROPS)) < 0.5
            valid[-1] = False
            writer.append(video, [(x, valid) if absent else x], frames=16 * length, fps=None)
        return writer.finish()


def averages(store: FeatureStore, video: str, normalised: bool) -> list[list[np.ndarray]]:
    """The crops present of every segment, standardised, float64."""
    entry, found = store.video(video), []
    for row in range(entry.start, entry.stop):
        x = store.features[row].astype(np.float64)
        if normalised:
            x = (x - NORMALISER.mean) * NORMALISER.scale
        found.append([x[c] for c in range(CROPS) if store.valid is None or store.valid[row, c]])
    return found


@pytest.fixture(params=[1, 2, 5, 100])
def segments_per_block(request, monkeypatch) -> int:
    nbytes = request.param * CROPS * DIM * 4
    monkeypatch.setattr(streaming, "blocks", partial(streaming.blocks, nbytes=nbytes))
    return request.param


CASES = pytest.mark.parametrize(
    ("dtype", "absent", "normalised"),
    [("float32", False, False), ("float16", False, True), ("float32", True, True), ("float16", True, False)],
)


@CASES
def test_changes_to_the_next_segment(tmp_path, segments_per_block, dtype, absent, normalised):
    store = make_store(tmp_path / "s", dtype, absent)
    videos = ["ten", "one", "eleven", "two"]
    entries = [store.video(video) for video in videos]
    (first, *_) = streaming.blocks(store, entries[0])
    assert len(first[1]) == min(segments_per_block, 10)
    expected = []
    for video in videos:
        means = [sum(crops) / len(crops) if crops else np.zeros(DIM) for crops in averages(store, video, normalised)]
        steps = [float(np.sqrt(np.sum((b - a) ** 2))) for a, b in itertools.pairwise(means)]
        expected += [*steps, steps[-1]] if steps else [0.0]
    found = streaming.segment_changes(store, entries, NORMALISER if normalised else None)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@CASES
def test_magnitudes_of_all_videos(tmp_path, segments_per_block, dtype, absent, normalised):
    store = make_store(tmp_path / "s", dtype, absent)
    videos = ["ten", "one", "eleven", "two"]
    found = streaming.all_video_magnitudes(
        store, [store.video(video) for video in videos], NORMALISER if normalised else None
    )
    for video, m in zip(videos, found, strict=True):
        crops = averages(store, video, normalised)
        expected = [sum(float(np.sum(crop**2)) for crop in own) / max(len(own), 1) for own in crops]
        np.testing.assert_allclose(m, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [1e18, -1e18, 1e38, np.inf, np.nan])
@pytest.mark.parametrize("absent", [False, True])
def test_a_value_that_cannot_be_used_is_named(tmp_path, segments_per_block, value, absent):
    make_store(tmp_path / "s", absent=absent)
    row = FeatureStore(tmp_path / "s").video("ten").start + 7
    features = np.load(tmp_path / "s" / "features.npy", mmap_mode="r+")
    features[row, 1, 2] = value
    if absent:
        np.load(tmp_path / "s" / "valid.npy", mmap_mode="r+")[row, 1] = True
    passes = (streaming.all_video_magnitudes, streaming.all_video_statistics, streaming.segment_changes)
    options = (None,), (None, "diagonal"), (None,)
    for call, rest in zip((*passes, streaming.feature_moments), (*options, ()), strict=True):
        store = FeatureStore(tmp_path / "s")
        with pytest.raises(ClapError, match=r"video 'ten', segment 7: a feature is NaN, infinite or far too large"):
            call(store, store.index, *rest)
    if absent:  # what an absent crop holds is nobody's concern
        np.load(tmp_path / "s" / "valid.npy", mmap_mode="r+")[row, 1] = False
        assert len(streaming.all_video_moments(store, store.index)) == len(store.index)


def test_values_are_looked_through_once(tmp_path, monkeypatch):
    store, looks = make_store(tmp_path / "s"), []
    monkeypatch.setattr(streaming, "unusable_segment", lambda x, valid: looks.append(len(x)))
    for _ in range(3):
        streaming.feature_moments(store, store.index)
    assert sum(looks) == store.segments
