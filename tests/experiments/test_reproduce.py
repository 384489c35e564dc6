"""Every table of the paper by one command, on files of exactly the released shape and names."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from official_lists import write_lists
from procfs import children_of, is_running
from waiting import LIMIT, until

from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError
from clap_vad.experiments.paper import default_protocol, paper_tables
from clap_vad.experiments.reproduce import reproduce
from clap_vad.persistence import write_json
from clap_vad.synthetic.released import render_ucf_crime
from synthetic import make_dataset


def clap(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "clap_vad.cli", *map(str, arguments)]


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset of four scenes that says it was prepared of ShanghaiTech tracks."""
    path = make_dataset(tmp_path_factory.mktemp("tracks") / "data")
    write_json(path / "truth.json", {"dataset": "shanghaitech-tracks"})
    return path


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten crops of 2048 floats, under the names of the release, a segment or a few of each video."""
    folder = tmp_path_factory.mktemp("ucf")
    render_ucf_crime(write_lists(folder / "official"), folder / "set", factor=0.02, crops=10, dim=2048)
    return folder / "set"


@pytest.mark.slow
def test_every_cell_of_the_paper_on_features_of_the_released_shape(released: Path, tmp_path: Path) -> None:
    options = ["--seeds", "0", "--rounds", "1", "--local-epochs", "1", "--pretrain-rounds", "1"]
    command = clap("reproduce", "ucf-crime", "--features", released, "--out", tmp_path / "out", "--json", *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout.splitlines()[-1])
    assert content == json.loads((tmp_path / "out" / "reproduction.json").read_text())
    store = Dataset(tmp_path / "out" / "dataset").stores[0]
    assert (store.crops, store.dim, store.features.dtype) == (10, 2048, np.float32)
    assert (store.path / "features.npy").resolve() == (released / "concat_UCF_V2.npy").resolve()  # never copied
    tables = {table["name"]: table["rows"] for table in content["tables"]}
    main = tables["main"]
    cells = {(row["method"], row["setting"], row["supervision"]) for row in main}
    assert len(main) == len(cells) == 3 * 3 * 2
    assert {row["protocol"] for row in main if row["setting"] != "centralized"} == {"official-scene-3"}
    published = {row["strategy"]: row["published"]["percent"] for row in tables["strategies"]}
    assert published == {"fedavg": 73.99, "fedprox": 73.4, "scaffold": 73.7}
    for row in tables["strategies"]:
        names = {name: row[name] for name in ("method", "setting", "supervision", "strategy", "protocol")}
        own = [run for run in content["runs"] if all(run.get(name) == value for name, value in names.items())]
        assert len(own) == 1
        assert row["protocol"] == "official-scene-3"
        metrics = json.loads((Path(own[0]["run"]) / "metrics.json").read_text())
        assert row["frame_auc"] == metrics["frame_auc"]
        assert metrics["frame_auc_best_round"] == metrics["frame_auc"]  # the only round there is
    lines = list(csv.DictReader((tmp_path / "out" / "reproduction.csv").open(newline="")))
    (fedprox,) = (line for line in lines if line["strategy"] == "fedprox")
    assert float(fedprox["difference"]) == pytest.approx(float(fedprox["frame_auc"]) - 0.734)
    assert fedprox["command"].startswith("clap train ")
    assert "--strategy fedprox" in fedprox["command"]
    assert sum(line["method"] == "baseline: knn" for line in lines) == len(tables)
    markdown, page = ((tmp_path / "out" / f"reproduction.{form}").read_text() for form in ("md", "html"))
    for text in ("80.90", "73.40", "official-scene-3", "The features are synthetic"):
        assert text in markdown
        assert text in page
    assert "://" not in page
    assert (tmp_path / "out" / "participants-official-scene-3.svg").stat().st_size > 1000


@pytest.mark.slow
def test_killed_it_goes_on_and_ends_as_if_it_had_not_been(tracks: Path, tmp_path: Path) -> None:
    choices = ["--tables", "strategies", "--rounds", "3", "--seeds", "0,1"]
    command = clap("reproduce", "shanghaitech-tracks", "--features", tracks, "--json", *choices)
    whole = reproduce(
        "shanghaitech-tracks", tracks, tmp_path / "whole", tables=["strategies"], rounds=3, seeds=[0, 1], jobs=1
    )
    runs = tmp_path / "killed" / "runs"
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "killed"), "--jobs", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: list(runs.glob("*/metrics.json")) or process.poll() is not None, "the first run to be finished")
    workers = children_of(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(workers) == 2
    until(lambda: not any(map(is_running, workers)), "workers, which must not outlive their parent, to end")
    finished = {file: file.stat().st_mtime_ns for file in runs.glob("*/metrics.json")}
    assert 1 <= len(finished) < 6
    again = subprocess.run(
        [*command, "--out", str(tmp_path / "killed")], capture_output=True, text=True, timeout=5 * LIMIT
    )
    assert again.returncode == 0, again.stderr
    content = json.loads(again.stdout.splitlines()[-1])
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert [run["model_sha256"] for run in content["runs"]] == [run["model_sha256"] for run in whole["runs"]]
    for ours, theirs in zip(content["tables"][0]["rows"], whole["tables"][0]["rows"], strict=True):
        assert (ours["frame_auc"], ours["best_round_auc"]) == (theirs["frame_auc"], theirs["best_round_auc"])


@pytest.mark.slow
def test_a_run_that_is_refused_stops_it_with_its_sentence(tracks: Path, tmp_path: Path) -> None:
    choices = ["--tables", "strategies", "--seeds", "0", "--rounds", "1", "--lr", "1e30", "--jobs", "2"]
    command = clap("reproduce", "shanghaitech-tracks", "--features", tracks, "--out", tmp_path / "out", *choices)
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * LIMIT)
    assert done.returncode == 2
    assert "lower --lr" in done.stderr.splitlines()[-1]


def test_missing_features_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"no such folder; ucf-crime needs concat_UCF_V2\.npy .*64 GB"):
        reproduce("ucf-crime", tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClapError, match=r"training list not found.*ucf-crime needs concat_UCF_V2\.npy"):
        reproduce("ucf-crime", tmp_path / "empty", tmp_path / "out")
    lists = write_lists(tmp_path / "lists")
    with pytest.raises(ClapError, match=r"features of some splits are missing; ucf-crime needs concat_UCF_V2\.npy"):
        reproduce("ucf-crime", lists, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset").exists()  # nor stands anything in the way of the next try
    with pytest.raises(ClapError, match=r"xd-violence needs concat_XD\.npy"):
        reproduce("xd-violence", tmp_path / "empty", tmp_path / "out")


def test_lists_may_lie_apart_from_the_features(released: Path, tmp_path: Path) -> None:
    lists, features = tmp_path / "lists", tmp_path / "features"
    lists.mkdir()
    features.mkdir()
    for file in released.iterdir():
        (features if file.suffix == ".npy" else lists).joinpath(file.name).symlink_to(file)
    reported: list[str] = []
    choices = {"tables": ["strategies"], "seeds": [0], "rounds": 1, "options": {"local_epochs": 1}}
    content = reproduce("ucf-crime", features, tmp_path / "out", source=lists, tell=reported.append, **choices)
    assert len(content["tables"][0]["rows"]) == 3
    assert reported[0].startswith("preparing ucf-crime")
    with pytest.raises(ClapError, match="contains another reproduction"):
        reproduce("ucf-crime", released, tmp_path / "out", **choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"tables": ["best"]}, "unknown table 'best'; known: main"),
        ({"seeds": []}, "--seeds: nothing chosen"),
        ({"jobs": 0, "tables": ["strategies"]}, "--jobs is 0"),
        ({"protocol": "cities"}, "unknown protocol 'cities'"),
        ({"options": {"colour": 1}}, "no setting 'colour'"),
    ],
)
def test_bad_choices_are_refused(tracks: Path, tmp_path: Path, choices: dict[str, object], message: str) -> None:
    with pytest.raises(ClapError, match=message):
        reproduce("shanghaitech-tracks", tracks, tmp_path / "out", **choices)
    with pytest.raises(ClapError, match="not a dataset prepared from ucf-crime"):
        reproduce("ucf-crime", tracks, tmp_path / "other")


def test_tables_for_what_a_dataset_has(tracks: Path) -> None:
    dataset = Dataset(tracks)
    assert default_protocol(dataset) == "scene"
    tables = {table.name: [cell.protocol for cell in table.cells] for table in paper_tables(dataset, "scene")}
    assert tables["strategies"] == ["scene"] * 3
    assert tables["protocols"] == ["random-5", "scene"]  # it states no events
    assert "participants" not in tables  # twenty videos are too few for ten participants
