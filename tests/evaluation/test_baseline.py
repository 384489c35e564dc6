"""Baselines, against slow loops and scipy, and on real tracks where they are at hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from clap_vad.datasets.dataset import Dataset, VideoRecord
from clap_vad.errors import ClapError
from clap_vad.evaluation import baseline
from clap_vad.evaluation.baseline import BASELINES, baseline_scores, baseline_table

MakeDataset = Callable[..., Dataset]

RECORDS = [
    VideoRecord("a", "train"),
    VideoRecord("b", "train"),
    VideoRecord("t", "test"),
    VideoRecord("u", "test", label=0),
]


def features(crops: int, dim: int = 6, sizes: tuple[int, ...] = (9, 14, 7, 5)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(crops)
    scale = 10.0 ** np.arange(-2, dim - 2)
    return {
        record.video: (random.normal(size=(size, crops, dim)) * scale + 3).astype(np.float32)
        for record, size in zip(RECORDS, sizes, strict=True)
    }


TRUTH = {"t": (np.arange(7 * 16) % 37 < 9).astype(np.uint8)}


def standardise(x: dict[str, np.ndarray], valid: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    crops = np.concatenate(
        [x[v].reshape(-1, x[v].shape[-1]) if valid is None else x[v][valid[v]] for v in ("a", "b")]
    ).astype(float)
    return {video: (own - crops.mean(0)) / crops.std(0) for video, own in x.items()}


def nearest(rows: np.ndarray, query: np.ndarray) -> float:
    return float(np.sort(cdist(query[None], rows)[0])[:5].mean())


def test_the_set_is_fixed() -> None:
    assert BASELINES.names() == ["knn", "largest-feature", "magnitude"]


@pytest.mark.parametrize("crops", [1, 3])
def test_scores_equal_slow_loops(make_dataset: MakeDataset, crops: int) -> None:
    x = features(crops)
    found = baseline_scores(make_dataset(RECORDS, x))
    z = standardise(x)
    rows = np.concatenate([z["a"], z["b"]]).mean(axis=1)
    for video in ("t", "u"):
        for t, segment in enumerate(z[video]):
            magnitude = np.mean([sum(value**2 for value in crop) for crop in segment])
            assert found["magnitude"][video][t] == pytest.approx(magnitude, rel=1e-4)
            assert found["largest-feature"][video][t] == pytest.approx(segment.max(), rel=1e-4)
            assert found["knn"][video][t] == pytest.approx(nearest(rows, segment.mean(axis=0)), rel=1e-4)
        assert all(scores[video].dtype == np.float32 for scores in found.values())
        assert set(found["knn"]) == {"t", "u"}


def test_invalid_regions_do_not_count(make_dataset: MakeDataset) -> None:
    x = features(3)
    valid = {video: np.random.default_rng(len(own)).random(own.shape[:2]) < 0.6 for video, own in x.items()}
    for video in ("a", "t"):
        valid[video][2] = False  # nobody in the picture
    for video, own in x.items():
        own[~valid[video]] = 1e6  # must never be read
    found = baseline_scores(make_dataset(RECORDS, x, valid=valid))
    z = standardise(x, valid)
    average = {
        video: np.array([own[t][v[t]].mean(axis=0) if v[t].any() else np.zeros(6) for t in range(len(own))])
        for (video, own), v in zip(z.items(), valid.values(), strict=True)
    }
    rows = np.concatenate([average["a"], average["b"]])
    for t, present in enumerate(valid["t"]):
        crops = z["t"][t][present]
        magnitude, largest = (np.square(crops).sum(1).mean(), crops.max()) if present.any() else (0, 0)
        assert found["magnitude"]["t"][t] == pytest.approx(magnitude, rel=1e-4)
        assert found["largest-feature"]["t"][t] == pytest.approx(largest, rel=1e-4)
        assert found["knn"]["t"][t] == pytest.approx(nearest(rows, average["t"][t]), rel=1e-4, abs=1e-6)


def test_magnitude_is_raw_where_features_need_no_standardising(make_dataset: MakeDataset) -> None:
    x = features(2)
    found = baseline_scores(make_dataset(RECORDS, x, normalise="none"), ["magnitude"])
    assert list(found) == ["magnitude"]
    np.testing.assert_allclose(found["magnitude"]["t"], np.square(x["t"]).sum(2).mean(1), rtol=1e-5)


def test_a_feature_that_never_varies_and_a_single_training_segment_do_no_harm(make_dataset: MakeDataset) -> None:
    x = features(1, sizes=(9, 14, 7, 5))
    for own in x.values():
        own[..., 2] = 0.1
    for scores in baseline_scores(make_dataset(RECORDS, x, folder="constant")).values():
        assert all(np.isfinite(own).all() for own in scores.values())
    tiny = {"a": x["a"][:1], "t": x["t"]}
    dataset = make_dataset([RECORDS[0], RECORDS[2]], tiny, folder="tiny")
    for scores in baseline_scores(dataset).values():
        assert np.isfinite(scores["t"]).all()


def test_a_large_training_set_is_sampled_the_same_way_every_time(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "SAMPLE_SEGMENTS", 10)
    monkeypatch.setattr(baseline, "_BLOCK_BYTES", 100)  # many small blocks
    dataset = make_dataset(RECORDS, features(2))
    first, second = baseline.sample_training(dataset), baseline.sample_training(dataset)
    assert first.rows.shape == (10, 6)
    np.testing.assert_array_equal(first.rows, second.rows)
    x = np.concatenate([features(2)["a"], features(2)["b"]]).mean(axis=1)
    restored = first.rows / first.normaliser.scale + first.normaliser.mean
    distance = cdist(restored, x, lambda u, v: np.abs((u - v) / v).max())
    assert (distance.min(axis=1) < 1e-3).all()
    assert len(set(distance.argmin(axis=1))) == 10  # without replacement


def test_blocks_do_not_change_the_scores(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make_dataset(RECORDS, features(3))
    whole = baseline_scores(dataset)
    monkeypatch.setattr(baseline, "_BLOCK_BYTES", 1)
    for name, scores in baseline_scores(dataset).items():
        np.testing.assert_allclose(scores["t"], whole[name]["t"], rtol=1e-5)


def test_table_measures_frames(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(RECORDS, features(2), truth=TRUTH)
    table = baseline_table(dataset)
    scores = baseline_scores(dataset)["magnitude"]
    labels = np.concatenate([TRUTH["t"], np.zeros(5 * 16)])
    frames = np.concatenate([np.repeat(scores[video], 16) for video in ("t", "u")])
    assert list(table) == BASELINES.names()
    assert table["magnitude"]["frame_auc"] == pytest.approx(roc_auc_score(labels, frames), abs=1e-12)
    assert set(table["knn"]) == {"frame_auc", "frame_ap"}


def test_no_table_without_training_videos_or_truth(make_dataset: MakeDataset) -> None:
    x = features(1)
    assert baseline_table(make_dataset(RECORDS[:3], x, folder="no truth")) == {}
    only_test = [RECORDS[2], RECORDS[3]]
    assert baseline_table(make_dataset(only_test, {v: x[v] for v in "tu"}, truth=TRUTH, folder="no train")) == {}


def test_an_unknown_name_lists_the_known_ones(make_dataset: MakeDataset) -> None:
    with pytest.raises(ClapError, match="unknown baseline 'isolation'; known: knn, largest-feature, magnitude"):
        baseline_scores(make_dataset(RECORDS, features(1)), ["isolation"])
