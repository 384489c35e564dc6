"""Results on a dataset, against scikit-learn on frames expanded by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from clap_vad.datasets.dataset import Dataset, VideoRecord
from clap_vad.errors import ClapError
from clap_vad.evaluation.counts import count_frames, pool_counts
from clap_vad.evaluation.evaluate import evaluate_counts, evaluate_participants, evaluate_scores, mean_over_participants

MakeDataset = Callable[..., Dataset]

RECORDS = [
    VideoRecord("train", "train"),
    VideoRecord("cut", "test", "gate", label=1),
    VideoRecord("held", "test", "gate", label=1),
    VideoRecord("weg #1=ü", "test", "yard", label=0),
    VideoRecord("unknown", "test", "yard", label=1),
    VideoRecord("short", "test", "", label=None),
]
SEGMENTS = {"train": 2, "cut": 4, "held": 2, "weg #1=ü": 3, "unknown": 2, "short": 1}
FRAMES = {"weg #1=ü": 40, "short": 5}


def truth() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {
        "cut": (random.random(50) < 0.5).astype(np.uint8),
        "held": (random.random(45) < 0.5).astype(np.uint8),
        "short": np.array([0, 1, 1, 0, 1], dtype=np.uint8),
    }


def scores(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {video: random.random(size).astype(np.float32).round(1) for video, size in SEGMENTS.items()}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    features = {video: np.ones((size, 1, 2), np.float32) for video, size in SEGMENTS.items()}
    return make_dataset(RECORDS, features, frames=FRAMES, truth=truth())


def expand(own: dict[str, np.ndarray], videos: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    labels = truth() | {"weg #1=ü": np.zeros(40, np.uint8)}
    frames = []
    for video in videos:
        repeated = [float(s) for s in own[video] for _ in range(16)]
        repeated += repeated[-1:] * 1000
        frames.append(repeated[: len(labels[video])])
    return np.concatenate([labels[v] for v in videos]), np.concatenate(frames)


def test_metrics_equal_scikit_learn(dataset: Dataset) -> None:
    result = evaluate_scores(dataset, scores())
    labels, frames = expand(scores(), ("cut", "held", "weg #1=ü", "short"))
    precision, recall, _ = precision_recall_curve(labels, frames)
    assert result["frame_auc"] == pytest.approx(roc_auc_score(labels, frames), abs=1e-12)
    assert result["frame_ap"] == pytest.approx(average_precision_score(labels, frames), abs=1e-12)
    assert result["frame_ap_trapezoid"] == pytest.approx(auc(recall, precision), abs=1e-12)
    assert (result["frames"], result["abnormal_frames"], result["videos"]) == (140, labels.sum(), 4)
    assert result["undefined"] is None
    json.dumps(result, allow_nan=False)


def test_frames_that_do_not_match_are_reported(dataset: Dataset) -> None:
    result = evaluate_scores(dataset, scores())
    assert result["cut_frames"] == 4 * 16 - 50  # 'short' has 5 frames in one segment: nothing of it is cut
    assert result["held_frames"] == 45 - 2 * 16
    assert result["videos_without_truth"] == ["unknown"]


def test_scenes_are_measured_on_their_own(dataset: Dataset) -> None:
    per_scene = evaluate_scores(dataset, scores())["per_scene"]
    labels, frames = expand(scores(), ("cut", "held"))
    assert list(per_scene) == ["gate", "yard"]
    assert per_scene["gate"]["frame_auc"] == pytest.approx(roc_auc_score(labels, frames), abs=1e-12)
    assert per_scene["gate"]["frame_ap"] == pytest.approx(average_precision_score(labels, frames), abs=1e-12)
    assert per_scene["yard"] == {
        "videos": 1,
        "frames": 40,
        "abnormal_frames": 0,
        "frame_auc": None,
        "frame_ap": None,
    }


def test_scores_may_come_from_an_open_npz(dataset: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "scores.npz", **scores())
    with np.load(tmp_path / "scores.npz", allow_pickle=False) as archive:
        assert evaluate_scores(dataset, archive) == evaluate_scores(dataset, scores())


def test_local_setting_is_the_mean_over_participants(dataset: Dataset) -> None:
    both = {"site-a": scores(1), "site-b": scores(2)}
    single = [evaluate_scores(dataset, own) for own in both.values()]
    result = evaluate_participants(dataset, both)
    for metric in ("frame_auc", "frame_ap", "frame_ap_trapezoid"):
        assert result[metric] == pytest.approx(np.mean([row[metric] for row in single]))
    assert result["frame_auc_std"] == pytest.approx(np.std([row["frame_auc"] for row in single], ddof=1))
    gate = [row["per_scene"]["gate"]["frame_ap"] for row in single]
    assert result["per_scene"]["gate"]["frame_ap"] == pytest.approx(np.mean(gate))
    assert result["per_participant"]["site-b"] == {m: single[1][m] for m in ("frame_auc", "frame_ap")}
    assert evaluate_participants(dataset, {"alone": scores()})["frame_auc_std"] is None
    with pytest.raises(ClapError, match="no participants"):
        mean_over_participants({})


def test_pooled_folds_are_one_test_set(dataset: Dataset) -> None:
    parts = [count_frames(dataset, scores(1)), count_frames(dataset, scores(2))]
    expanded = [expand(scores(seed), ("cut", "held", "weg #1=ü", "short")) for seed in (1, 2)]
    labels, frames = (np.concatenate(column) for column in zip(*expanded, strict=True))
    pooled = evaluate_counts(pool_counts(parts))
    assert pooled["frame_auc"] == pytest.approx(roc_auc_score(labels, frames), abs=1e-12)
    assert pooled["frames"] == len(labels)


@pytest.mark.parametrize(
    ("records", "labels", "reason"),
    [
        ([VideoRecord("v", "train")], None, "no test videos"),
        ([VideoRecord("v", "test")], None, "no test video has frame truth"),
        ([VideoRecord("v", "test", label=1)], {"other": np.ones(3, np.uint8)}, "no test video has frame truth"),
        ([VideoRecord("v", "test", label=0)], None, "normal frames only"),
        ([VideoRecord("v", "test")], {"v": np.ones(32, np.uint8)}, "abnormal frames only"),
    ],
)
def test_undefined_metrics_are_null_with_a_reason(
    make_dataset: MakeDataset, records: list[VideoRecord], labels: dict[str, np.ndarray] | None, reason: str
) -> None:
    dataset = make_dataset(records, {"v": np.ones((2, 1, 1), np.float32)}, truth=labels)
    result = evaluate_scores(dataset, {"v": np.array([0.1, 0.2], np.float32)})
    assert result["frame_auc"] is None
    assert reason in result["undefined"]
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cut": None}, "run.npz: test video 'cut' has no scores"),
        ({"cut": np.zeros(3, np.float32)}, r"'cut' are float32 \(3,\), but the dataset's store has 4"),
        ({"cut": np.zeros((4, 1), np.float32)}, r"\(4, 1\)"),
        ({"cut": np.array(["a"] * 4)}, "<U1"),
        ({"held": np.array([0.5, np.nan], np.float32)}, "'held', segment 1, is nan"),
        ({"held": np.array([np.inf, 0.5], np.float32)}, "'held', segment 0, is inf"),
    ],
)
def test_bad_scores_are_named(dataset: Dataset, change: dict[str, np.ndarray | None], message: str) -> None:
    broken = {video: own for video, own in (scores() | change).items() if own is not None}
    with pytest.raises(ClapError, match=message):
        evaluate_scores(dataset, broken, "run.npz")


def test_pickled_scores_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "scores.npz", **scores() | {"cut": np.array([{}] * 4, dtype=object)})
    with (
        np.load(tmp_path / "scores.npz", allow_pickle=False) as archive,
        pytest.raises(ClapError, match="cannot be read"),
    ):
        evaluate_scores(dataset, archive)


def test_broken_truth_is_named(make_dataset: MakeDataset) -> None:
    features = {"v": np.ones((1, 1, 1), np.float32)}
    dataset = make_dataset([VideoRecord("v", "test")], features, truth={"v": np.array([0, 2], np.uint8)})
    with pytest.raises(ClapError, match="'v'"):
        evaluate_scores(dataset, {"v": np.zeros(1, np.float32)})
