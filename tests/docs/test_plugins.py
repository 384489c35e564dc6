"""Every file that docs/plugins.md prints works by lying in its folder: each kind of plug-in is used by its command."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import clap_vad
from clap_vad.features.store.reader import FeatureStore
from clap_vad.persistence import save_npz
from clap_vad.synthetic.rendering import RenderSettings, render_clips
from synthetic import SCENES, make_dataset

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"
FILES = dict(
    re.findall(r"^`src/clap_vad/(\S+\.py)`:\n\n```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
)

Clap = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def clap(tmp_path_factory) -> Clap:
    """``clap`` of a copy of the package that has all files of the page; returns what ``--json`` says."""
    package = tmp_path_factory.mktemp("copy") / "src" / "clap_vad"
    shutil.copytree(Path(clap_vad.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (package / name).exists(), name
        (package / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}

    def run(*arguments: object) -> dict[str, Any]:
        command = [sys.executable, "-m", "clap_vad.cli", *map(str, arguments), "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "dataset")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Two rendered clips, one to train on and one to test on, in the folders that the benchmark expects."""
    folder = tmp_path_factory.mktemp("videos")
    render_clips(folder / "all", RenderSettings(seconds=2, training=1, testing=1), workers=1)
    for split in ("train", "test"):
        (folder / split).mkdir()
        (folder / "all" / "street" / f"street-{split}-1.mp4").rename(folder / split / f"{split}.mp4")
    labels = np.load(folder / "all" / "frame_labels.npz")["street-test-1"]
    shutil.rmtree(folder / "all")
    save_npz(folder / "frame_labels.npz", {"test": labels})
    return folder


def test_the_page_shows_a_file_of_every_kind():
    assert {str(Path(name).parent) for name in FILES} == {
        "algorithms", "federation/strategies", "features/extractors", "features/importing/formats",
        "datasets/benchmarks", "datasets/protocols", "evaluation/baselines", "detector/models", "detector/export/kinds",
        "monitoring/sinks",
    }  # fmt: skip


@pytest.mark.parametrize("setting", ["collaborative", "local"])
def test_a_method_with_a_strategy_and_a_baseline(clap, dataset, tmp_path, setting):
    chosen = ["--method", "loudest", "--share", 0.2, "--setting", setting, "--rounds", 2]
    if setting == "collaborative":
        chosen += ["--strategy", "cautious", "--part", 0.25]
    metrics = clap("train", dataset, *chosen, "--out", tmp_path / "run")
    assert metrics["method"] == "loudest"
    assert 0 <= metrics["frame_auc"] <= 1
    assert {"smallest-feature", "knn"} <= metrics["baselines"].keys()
    config = (tmp_path / "run" / "config.json").read_text()
    assert '"share": 0.2' in config and ('"part": 0.25' in config) == (setting == "collaborative")


def test_an_extractor_a_benchmark_and_an_event_sink(clap, videos, tmp_path):
    data, run, out = (tmp_path / name for name in ("dataset", "run", "watch"))
    made = clap("dataset", "prepare", "two-folders", "--source", videos, "--extractor", "brightness", "--out", data)
    assert (made["train"], made["test"], made["skipped"]) == (1, 1, {})
    info = clap("features", "info", data / "store")
    assert (info["extractor"], info["crops"], info["dim"]) == ("brightness", 1, 2)
    clap("train", data, "--method", "distance", "--setting", "centralized", "--out", run)
    seen = clap("watch", run, videos / "test" / "test.mp4", "--threshold", 0, "--camera", "gate", "--out", out)
    (row,) = csv.reader((out / "events.csv").open())
    assert seen["spreadsheet"] == str(out / "events.csv") and seen["events"] == 1
    assert row[0] == "gate" and float(row[1]) == 0.0 and 0 < float(row[3]) < 1


def test_an_import_format(clap, tmp_path):
    rows = {"gate": np.float32([[1, 2, 3], [4, 5, 6]]), "yard": np.float32([[7, 8, 9]])}
    (tmp_path / "tables").mkdir()
    for name, values in rows.items():
        np.savetxt(tmp_path / "tables" / f"{name}.csv", values, delimiter=",")
    made = clap("features", "import", "--format", "csv", tmp_path / "tables", "--out", tmp_path / "store")
    assert (made["videos"], made["segments"], made["dim"]) == (2, 3, 3)
    stored = np.load(tmp_path / "store" / "features.npy")
    assert np.array_equal(stored[:, 0], np.concatenate([rows["gate"], rows["yard"]]))


def test_a_protocol(clap, dataset):
    made = clap("dataset", "partition", dataset, "--protocol", "in-turn", "--participants", 2)
    assert made["protocol"].startswith("in-turn")
    file = next((dataset / "participants").glob("in-turn*.json"))
    first, second = json.loads(file.read_text())["participants"].values()
    assert len(first) == len(second) == 5 * len(SCENES) // 2
    assert first[0].endswith("train-0") and second[0].endswith("train-1")


def test_a_kind_of_model_and_its_export(clap, dataset, tmp_path):
    metrics = clap("train", dataset, "--method", "distance", "--rounds", 1, "--out", tmp_path / "run")
    assert metrics["frame_auc"] > 0.8, "bursts are far from the mean"
    assert json.loads((tmp_path / "run" / "model.json").read_text())["kind"] == "distance"
    clap("export", tmp_path / "run", "--format", "onnx", "--out", tmp_path / "onnx")
    store = FeatureStore(dataset / "store")
    entry = store.video("north-test-1")
    x = store.read(entry.start, entry.stop)
    given = {"features": x, "valid": np.ones(x.shape[:2], bool), "fps": np.array(25.0)}
    (scores,) = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx").run(["scores"], given)
    assert np.abs(scores - np.load(tmp_path / "run" / "scores.npz")["north-test-1"]).max() < 1e-6
