"""Features that a method cannot use, or that do not suit it: one sentence, whatever the method."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.algorithms.method import METHODS
from clap_vad.cli.main import cli
from clap_vad.features.store.writer import StoreWriter
from clap_vad.workflows.label import label
from clap_vad.workflows.train import train

VIDEOS = [f"v{k}" for k in range(8)]


def make_dataset(folder: Path, *, persons: bool = False, scale: float = 1.0) -> Path:
    random = np.random.default_rng(0)
    crops = 3 if persons else 1
    settings = {"form": "person"} if persons else {}
    with StoreWriter(
        folder / "store",
        extractor="tracks" if persons else "rtfm",
        settings=settings,
        crops=crops,
        dim=10,
        normalise="none",
        with_valid=persons,
    ) as writer:
        for video in VIDEOS:
            x = (scale * random.normal(size=(12, crops, 10))).clip(-1e6, 1e6).astype(np.float32)
            writer.append(video, [(x, np.ones((12, crops), bool)) if persons else x], 12 * 16, 25.0)
        writer.finish()
    lines = [f"{v},{'test' if v in ('v6', 'v7') else 'train'},s{k % 2},{int(v == 'v7')}" for k, v in enumerate(VIDEOS)]
    (folder / "videos.csv").write_text("\n".join(["video,split,scene,label", *lines]) + "\n")
    return folder


def spoil(dataset: Path, value: float) -> None:
    np.load(dataset / "store" / "features.npy", mmap_mode="r+")[2 * 12 + 5, 0, 3] = value


@pytest.mark.parametrize("value", [1e18, np.nan])
@pytest.mark.parametrize("method", ["comet", "clap", "c2fpl", "gcl"])
def test_a_value_that_no_method_can_use_is_named(tmp_path: Path, method: str, value: float):
    spoil(make_dataset(tmp_path / "d"), value)
    settings = ("local", "centralized", "collaborative") if value == 1e18 else ("collaborative",)
    for setting in settings:
        words = ["train", tmp_path / "d", "--method", method, "--setting", setting, "--rounds", "1"]
        done = CliRunner().invoke(cli, [*map(str, words), "--out", str(tmp_path / setting)])
        assert done.exit_code == 2
        assert "video 'v2', segment 5: a feature is NaN, infinite or far too large" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    done = CliRunner().invoke(cli, ["label", str(tmp_path / "d"), "--method", method, "--out", str(tmp_path / "l.npz")])
    assert done.exit_code == 2 and "video 'v2', segment 5" in done.stderr


def test_features_info_names_it(tmp_path: Path):
    spoil(make_dataset(tmp_path / "d"), 1e18)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = CliRunner().invoke(cli, ["features", "info", str(tmp_path / "d" / "store"), "--json"])
    assert done.exit_code == 2 and "video 'v2', segment 5" in done.stderr
    assert json.loads(done.stdout)["unusable"].startswith("video 'v2', segment 5")


@pytest.mark.parametrize("method", ["comet", "clap", "c2fpl", "gcl"])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 2e5])
def test_features_without_change_and_large_ones_can_be_learnt_from(tmp_path: Path, method: str, scale: float):
    dataset = make_dataset(tmp_path / "d", scale=scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        metrics = train(dataset, tmp_path / "run", method=method, rounds=1)
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert all(np.isfinite(scores[video]).all() for video in scores.files)
    assert metrics["remarks"] == []


def test_methods_that_score_whole_segments_warn_on_single_persons(tmp_path: Path):
    dataset = make_dataset(tmp_path / "d", persons=True)
    for method in METHODS.names():
        remarks = label(dataset, tmp_path / "l.npz", method=method)["remarks"]
        assert [("--extractor tracks --form segment" in remark) for remark in remarks] == [True] * (method != "comet")
    for setting in ("local", "collaborative"):
        words = [
            "train",
            dataset,
            "--method",
            "clap",
            "--setting",
            setting,
            "--rounds",
            "1",
            "--out",
            tmp_path / setting,
        ]
        done = CliRunner().invoke(cli, [*map(str, words), "--json"])
        assert done.exit_code == 0
        assert done.stderr.count("--extractor tracks --form segment") == 1  # once a run, however many participants
        assert len(json.loads(done.stdout.splitlines()[-1])["remarks"]) == 1
        assert len(json.loads((tmp_path / setting / "metrics.json").read_text())["remarks"]) == 1
