"""The crops of videos as rows: those present, in order, and a sample that one crop more does not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.store.crops import crop_rows, drawn_crops
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter

CROPS, DIM = 3, 4


def store_of(path: Path, lengths: list[int], valid: bool = True) -> tuple[FeatureStore, list[np.ndarray]]:
    rng, masks = np.random.default_rng(0), []
    settings = {"extractor": "synthetic", "settings": {}, "crops": CROPS, "dim": DIM}
    with StoreWriter(path, with_valid=valid, **settings) as writer:
        for number, length in enumerate(lengths):
            x = rng.normal(size=(length, CROPS, DIM)).astype(np.float32)
            masks.append(rng.random((length, CROPS)) < 0.6)
            writer.append(f"v{number}", [(x, masks[-1]) if valid else x], frames=length * 16, fps=25.0)
        writer.finish()
    return FeatureStore(path), masks


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def double(rows: np.ndarray) -> np.ndarray:
    return 2 * rows[:, :2]


@pytest.mark.parametrize("valid", [True, False])
def test_rows_are_those_of_the_valid_regions_in_order(tmp_path, monkeypatch, valid):
    store, masks = store_of(tmp_path / "s", [5, 1, 40], valid)
    at = [drawn_crops(store, entry, 1.0, None, rng()) for entry in store.index]
    expected = []
    for entry, mask, positions in zip(store.index, masks, at, strict=True):
        there = [t * CROPS + c for t in range(entry.segments) for c in range(CROPS) if not valid or mask[t, c]]
        assert positions.tolist() == there
        x = store.read(entry.start, entry.stop)
        expected += [2 * x[p // CROPS, p % CROPS, :2] for p in there]
    found = crop_rows(store, store.index, at, double)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    monkeypatch.setattr("clap_vad.features.store.streaming._BLOCK_BYTES", 100)
    np.testing.assert_array_equal(crop_rows(store, store.index, at, double), expected)


@pytest.mark.parametrize(("rate", "most"), [(1.0, None), (0.25, None), (1.0, 7), (0.5, 7)])
def test_another_valid_region_changes_no_other_draw_except_the_one_it_replaces(tmp_path, rate, most):
    store, masks = store_of(tmp_path / "s", [30])
    [entry] = store.index
    before = set(drawn_crops(store, entry, rate, most, rng()).tolist())
    absent = [(t, c) for t, c in zip(*np.nonzero(~masks[0]), strict=True)]
    file = tmp_path / "s" / "valid.npy"
    for t, c in absent:
        valid = masks[0].copy()
        valid[t, c] = True
        np.save(file, valid)
        after = set(drawn_crops(FeatureStore(tmp_path / "s"), entry, rate, most, rng()).tolist())
        assert after - before <= {t * CROPS + c}
        assert len(before - after) <= (most is not None)
    assert len(before) <= (most or 90)


def test_a_region_is_drawn_with_the_rate_and_by_the_generator(tmp_path):
    store, masks = store_of(tmp_path / "s", [3000])
    [entry] = store.index
    drawn = drawn_crops(store, entry, 0.25, None, rng())
    assert len(drawn) == pytest.approx(masks[0].sum() / 4, rel=0.1)
    assert drawn.tolist() == sorted(set(drawn.tolist()))
    assert drawn.tolist() == drawn_crops(store, entry, 0.25, None, rng()).tolist()
    assert drawn.tolist() != drawn_crops(store, entry, 0.25, None, np.random.default_rng(8)).tolist()
    first = drawn_crops(store, entry, 1.0, 100, rng())
    assert len(first) == 100 and first.tolist() == sorted(first.tolist())
    assert masks[0].ravel()[first].all()
    assert first.max() > 0.9 * 9000 and first.min() < 0.1 * 9000  # of all parts of the video


def test_no_regions_are_no_rows_of_the_right_width(tmp_path):
    store, _ = store_of(tmp_path / "s", [4])
    none = [np.zeros(0, np.int64)]
    assert crop_rows(store, store.index, none, double).shape == (0, 2)
    assert crop_rows(store, [], [], double).shape == (0, 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_a_number_is_reported_with_its_video_and_segment(tmp_path, value):
    store, masks = store_of(tmp_path / "s", [6, 20])
    features = np.load(tmp_path / "s" / "features.npy", mmap_mode="r+")
    t, c = np.argwhere(masks[1])[9]
    features[6 + t, c, 1] = value
    features.flush()
    store = FeatureStore(tmp_path / "s")
    at = [drawn_crops(store, entry, 1.0, None, rng()) for entry in store.index]
    with pytest.raises(ClapError, match=rf"features.npy: video 'v1', segment {t}: a feature is NaN"):
        crop_rows(store, store.index, at, double)
    elsewhere = [at[0], at[1][at[1] != t * CROPS + c]]
    with pytest.raises(ClapError, match=rf"segment {t}: a feature is NaN"):  # of what is read, not only of what is used
        crop_rows(store, store.index, elsewhere, double)
