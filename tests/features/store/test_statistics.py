from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import clap_vad.features.store.statistics as statistics
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter


def make(folder: Path, x: np.ndarray, valid: np.ndarray | None = None, dtype: str = "float32") -> FeatureStore:
    _, crops, dim = x.shape
    with StoreWriter(
        folder, extractor="x", settings={}, crops=crops, dim=dim, dtype=dtype, with_valid=valid is not None
    ) as writer:
        for name, rows in {"a": slice(0, 1), "b": slice(1, 4), "c": slice(4, len(x))}.items():
            writer.append(name, [x[rows] if valid is None else (x[rows], valid[rows])], 40, None)
        return writer.finish()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("with_valid", [False, True])
def test_one_pass_agrees_with_the_whole_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, with_valid: bool
) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_BYTES", 4 * 3 * 5 * 7)  # seven segments at a time
    random = np.random.default_rng(0)
    x = (random.normal(5.0, 0.1, (30, 3, 5)) + 100 * (random.random((30, 1, 1)) > 0.9)).astype(dtype)
    valid = random.random((30, 3)) > 0.6 if with_valid else np.ones((30, 3), bool)
    valid[4] = not with_valid
    found = statistics.describe(make(tmp_path / "s", x, valid if with_valid else None, dtype))
    wide = x.astype(np.float64)
    present = wide[valid]
    assert found["features"] == pytest.approx(
        {"min": present.min(), "max": present.max(), "mean": present.mean(), "std": present.std()}
    )
    norms = np.square(wide).sum(axis=2)
    m = [norms[t][valid[t]].mean() if valid[t].any() else 0.0 for t in range(30)]
    assert list(found["magnitude"].values()) == pytest.approx(np.quantile(m, statistics.QUANTILES), rel=1e-5)
    assert found["valid_share"] == pytest.approx(valid.mean())
    assert found["segments_per_video"] == {"min": 1, "median": 3.0, "max": 26}
    assert (found["frames"], found["not_finite"]) == (120, 0)
    assert set(found["checks"].values()) == {None}
    json.dumps(found, allow_nan=False)


def test_verify_finds_a_changed_byte(tmp_path: Path) -> None:
    store = make(tmp_path / "s", np.ones((6, 1, 2)))
    with (tmp_path / "s/features.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x00")
    names = ["every value can be used", "as recorded", "every segment belongs to one video"]
    assert statistics.describe(store)["checks"] == dict.fromkeys(names)
    checks = statistics.describe(store, verify=True)["checks"]
    assert checks["SHA-256 of features.npy"] == "the file has changed since it was written"
    assert checks["SHA-256 of index.csv"] is None


def test_a_store_made_by_other_means(tmp_path: Path) -> None:
    x = np.ones((6, 1, 2), np.float32)
    x[2, 0, 1], x[3, 0, 0] = np.nan, np.inf
    np.save(tmp_path / "features.npy", x)
    (tmp_path / "index.csv").write_text("video,start,stop,frames,fps\na,0,3,48,\nb,2,6,64,25\n")
    (tmp_path / "store.json").write_text('{"schema_version": 1, "extractor": "x", "segment_frames": 16, "dim": 3}')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = statistics.describe(FeatureStore(tmp_path), verify=True)
    assert found["not_finite"] == 2
    assert found["features"] == {"min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0}
    assert found["checks"]["as recorded"] == "dim is 2, recorded 3"
    assert found["checks"]["every segment belongs to one video"] is not None
    assert "video 'a', segment 2: a feature is NaN" in found["checks"]["every value can be used"]
    assert found["checks"]["SHA-256 of features.npy"] == "none was recorded"
    json.dumps(found, allow_nan=False)
