"""Alarms of finished runs: the threshold by the training videos, the result by the test videos, the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import synthetic
from clap_vad.core.evaluation.alarms import Footage, Stream, count_alarms
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.model import Model
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.evaluation.alarms import evaluate_alarms
from clap_vad.persistence import read_json, write_json
from clap_vad.workflows.alarms import alarms

INFO = {"extractor": {"name": "synthetic", "settings": {}}, "dim": 16}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make_dataset(tmp_path_factory.mktemp("alarms") / "data")


def model() -> Model:
    weights = initial_weights(16, 3)
    return NetworkModel({**weights, "layer3.weight": 20 * weights["layer3.weight"]}, None, INFO)


def make_run(path: Path, dataset: Path, setting: str = "collaborative") -> Path:
    write_json(path / "config.json", {"dataset": str(dataset), "setting": setting})
    write_json(path / "metrics.json", {})
    (path / "participants/north" if setting == "local" else path).mkdir(parents=True, exist_ok=True)
    model().save(path / "participants/north" if setting == "local" else path)
    return path


def slow_scores(dataset: Dataset, videos: list[str]) -> dict[str, np.ndarray]:
    found = {}
    for video in videos:
        store, entry = dataset.locate(video)
        found[video] = model().score(store.read(entry.start, entry.stop))
    return found


def test_the_training_videos_choose_and_the_test_videos_evaluate(dataset: Path, tmp_path: Path) -> None:
    opened = Dataset(dataset)
    report = alarms(make_run(tmp_path / "run", dataset), rate=60.0, out=tmp_path / "new/out")
    training = slow_scores(opened, opened.train_videos)
    footage = Footage.of([Stream(s, opened.locate(video)[1].frames, 25.0) for video, s in training.items()])
    count = int(count_alarms(footage, np.array([report["threshold"]]))[0])
    assert report["training"] == {
        "videos": 20,
        "hours": pytest.approx(footage.hours),
        "alarms": count,
        "alarms_per_hour": pytest.approx(count / footage.hours),
    }
    assert 0 < count <= 60 * footage.hours
    # a bin lower there are too many
    below = 1 / (1 + np.exp(-(np.log(report["threshold"] / (1 - report["threshold"])) - 1 / 128)))
    assert count_alarms(footage, np.array([below]))[0] > 60 * footage.hours
    judged = evaluate_alarms(opened, slow_scores(opened, opened.test_videos), report["threshold"])
    for key in ("hours", "alarms", "false_alarms", "events", "recall", "latency_median", "active_share"):
        assert report[key] == judged[key], key
    assert list(report["per_scene"]) == sorted(synthetic.SCENES)
    assert read_json(tmp_path / "new/out/alarms.json") == json.loads(json.dumps(report))
    names = {"alarms.json", "recall.svg", "recall.png", "latency.svg", "latency.png"}
    assert {file.name for file in (tmp_path / "new/out").iterdir()} == names


def test_short_videos_are_remarked_upon(dataset: Path, tmp_path: Path) -> None:
    report = alarms(make_run(tmp_path / "run", dataset), rate=2.0)
    assert report["training"]["alarms"] == 0
    assert any(
        "allow an alarm at 2 per hour" in remark and "give 0.5 hours or more" in remark for remark in report["remarks"]
    )
    assert any("allow a false alarm at 1 or 2 or 5 or 10 per hour" in remark for remark in report["remarks"])


def test_a_participants_own_model_is_evaluated_where_each_has_one(dataset: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", dataset, "local")
    with pytest.raises(ClapError, match="give one of them"):
        alarms(run)
    whole = alarms(make_run(tmp_path / "whole", dataset))
    assert {**alarms(run / "participants/north"), "run": ""} == {**whole, "run": ""}


def test_what_cannot_be_evaluated_is_refused_in_one_sentence(dataset: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", dataset)
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(ClapError, match="--rate"):
            alarms(run, rate=rate)
    with pytest.raises(ClapError, match="a file is in the way"):
        alarms(run, out=run / "config.json")
    with pytest.raises(ClapError, match="not a run"):
        alarms(dataset)
    with pytest.raises(ClapError, match="no test video has frame truth"):
        alarms(run, dataset=synthetic.make_dataset(tmp_path / "no-test", test=False))
    with pytest.raises(ClapError, match="8 dimensions"):
        alarms(run, dataset=synthetic.make_dataset(tmp_path / "other", dim=8))
