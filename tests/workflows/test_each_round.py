"""Testing after every round: what is logged, and the round that is best on the test labels, named for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from interrupted import StoppedError, stopping_progress

from clap_vad.workflows import train as module
from synthetic import SCENES, make_dataset

OPTIONS = {"lr": 0.05, "refine_from": 3}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """With truth drawn by lot: no two rounds are as good, and the last is not the best."""
    path, rng = make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3), np.random.default_rng(5)
    with np.load(path / "frame_labels.npz") as truth:
        drawn = {video: np.repeat(rng.integers(0, 2, len(y) // 16), 16).astype(np.uint8) for video, y in truth.items()}
    np.savez(path / "frame_labels.npz", **drawn)
    return path


def rounds_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("setting", ["centralized", "collaborative"])
def test_each_round_is_tested_as_if_it_were_the_last(dataset, tmp_path, quick_train, setting):
    metrics = quick_train(dataset, tmp_path / "run", setting=setting, rounds=3, test_each_round=True, **OPTIONS)
    log = rounds_of(tmp_path / "run")
    for record in log:
        number = record["round"]
        alone = quick_train(dataset, tmp_path / str(number), setting=setting, rounds=number, **OPTIONS)
        assert (record["frame_auc"], record["frame_ap"]) == (alone["frame_auc"], alone["frame_ap"])
        assert "best_round" not in alone
        assert all("frame_auc" not in line for line in rounds_of(tmp_path / str(number)))
    assert alone["model_sha256"] == metrics["model_sha256"]  # looking changes nothing
    assert log[-1]["frame_auc"] == metrics["frame_auc"]
    found = [record["frame_auc"] for record in log]
    assert len(set(found)) == 3
    assert metrics["frame_auc_best_round"] == max(found) > found[-1]
    assert metrics["best_round"] == 1 + found.index(max(found))


def test_alone_every_participant_has_its_own_best_round(dataset, tmp_path, quick_train):
    metrics = quick_train(dataset, tmp_path / "run", setting="local", rounds=3, test_each_round=True, **OPTIONS)
    logs = [[r["frame_auc"] for r in rounds_of(tmp_path / "run" / "participants" / scene)] for scene in SCENES]
    assert metrics["frame_auc"] == pytest.approx(np.mean([log[-1] for log in logs]))
    assert metrics["frame_auc_best_round"] == pytest.approx(np.mean([max(log) for log in logs]))
    assert metrics["best_round"] is None


def test_without_test_videos_no_round_is_best(tmp_path, quick_train):
    dataset = make_dataset(tmp_path / "data", videos=3, test=False)
    metrics = quick_train(dataset, tmp_path / "run", rounds=2, test_each_round=True)
    assert metrics["frame_auc"] is metrics["frame_auc_best_round"] is metrics["best_round"] is None
    assert all("frame_auc" not in record for record in rounds_of(tmp_path / "run"))


def untimed(log: list[dict]) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in log]


@pytest.mark.parametrize("setting", ["local", "collaborative"])
def test_a_stopped_run_goes_on_to_the_same_record_of_its_rounds(dataset, tmp_path, monkeypatch, quick_train, setting):
    options = {"setting": setting, "rounds": 3, "test_each_round": True, **OPTIONS}
    whole = quick_train(dataset, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(module, "progress_bar", stopping_progress(6))
        with pytest.raises(StoppedError):
            quick_train(dataset, tmp_path / "run", **options)
    assert not (tmp_path / "run" / "metrics.json").exists()
    resumed = module.resume(tmp_path / "run", baselines={})
    assert resumed["resumed"]
    for key in ("model_sha256", "frame_auc", "frame_auc_best_round", "best_round", "bytes_up", "bytes_down"):
        assert resumed[key] == whole[key], key
    folders = [Path("participants") / scene for scene in SCENES] if setting == "local" else [Path()]
    for folder in folders:
        assert untimed(rounds_of(tmp_path / "run" / folder)) == untimed(rounds_of(tmp_path / "whole" / folder))


NEW_ENTRIES = ["strategy_options", "fraction", "stragglers", "labelled_participants", "test_each_round"]
NEW_OPTIONS = ["nesterov", "crops", "epoch_share"]


def test_a_run_begun_before_there_were_such_settings_goes_on(dataset, tmp_path, monkeypatch, quick_train):
    options = {"rounds": 3, **OPTIONS}
    whole = quick_train(dataset, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        patch.setattr(module, "progress_bar", stopping_progress(6))
        with pytest.raises(StoppedError):
            quick_train(dataset, tmp_path / "run", **options)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for name in NEW_ENTRIES:
        del config[name]
    for name in NEW_OPTIONS:
        del config["options"][name]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    resumed = module.resume(tmp_path / "run", baselines={})
    assert resumed["resumed"]
    assert resumed["model_sha256"] == whole["model_sha256"]
