"""The comparison of methods and settings, with real training on a small dataset."""

from __future__ import annotations

import csv
import json
import shlex
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.cli.main import cli
from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
from clap_vad.errors import ClapError
from clap_vad.experiments import runs as running
from clap_vad.experiments.compare import compare
from clap_vad.features.store.writer import StoreWriter
from clap_vad.workflows import finish

CHOICES = {"seeds": [0, 1], "rounds": 2}


@pytest.fixture(autouse=True)
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs' own reports take most of a small run's time and are tested elsewhere."""
    monkeypatch.setattr(finish, "report", lambda run: None)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two sites of five training videos, four test videos; anomalous segments have larger features."""
    random, path = np.random.default_rng(0), tmp_path / "my cameras"
    records, truth = [], {}
    with StoreWriter(path / "store", extractor="test", settings={}, crops=2, dim=6, normalise="none") as writer:
        for i in range(14):
            video, anomalous = f"v{i}", i % 2
            x = random.normal(size=(12, 2, 6)).astype(np.float32)
            x[4:7] *= 1 + 2 * anomalous
            writer.append(video, [x], frames=192, fps=25.0)
            split = "train" if i < 10 else "test"
            records.append(VideoRecord(video, split, f"site-{i % 4 // 2}", label=anomalous))
            if split == "test" and anomalous:
                truth[video] = np.repeat(np.isin(np.arange(12), (4, 5, 6)), 16).astype(np.uint8)
        writer.finish()
    write_videos_csv(path / "videos.csv", records)
    np.savez(path / "frame_labels.npz", **truth)
    return path


@pytest.mark.slow
def test_the_table_is_the_mean_over_the_runs(dataset: Path, tmp_path: Path) -> None:
    settings, supervisions = ["local", "collaborative"], ["us", "ws"]
    table = compare(dataset, out=tmp_path / "out", settings=settings, supervisions=supervisions, **CHOICES)
    assert [(row["supervision"], row["setting"]) for row in table["rows"][:4]] == list(product(supervisions, settings))
    assert [row["method"] for row in table["rows"][4:]] == [
        "baseline: knn",
        "baseline: largest-feature",
        "baseline: magnitude",
    ]
    assert len(table["runs"]) == 8
    for row in table["rows"][:4]:
        own = [run for run in table["runs"] if all(run[k] == row[k] for k in ("setting", "supervision"))]
        stored = [json.loads((Path(run["run"]) / "metrics.json").read_text())["frame_auc"] for run in own]
        assert [run["seed"] for run in own] == [0, 1]
        assert row["frame_auc"] == pytest.approx(np.mean(stored))
        assert row["frame_auc_std"] == pytest.approx(np.std(stored, ddof=1))
        assert (row["protocol"], row["strategy"]) == ("scene", "" if row["setting"] == "local" else "fedavg")
    assert table == json.loads((tmp_path / "out" / "table.json").read_text())


def test_the_table_is_written_as_text_and_page_too(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = compare(dataset, out=out, settings=["centralized"], **CHOICES)
    markdown, html = (out / "table.md").read_text(), (out / "table.html").read_text()
    row = table["rows"][0]
    shown = f"{100 * row['frame_auc']:.2f} ± {100 * row['frame_auc_std']:.2f}"
    assert shown in markdown
    assert shown in html.replace("\u00a0", " ")
    for text in ("baseline: knn", "my cameras"):
        assert text in markdown
        assert text in html
    assert "://" not in html
    lines = list(csv.DictReader((out / "table.csv").open(newline="")))
    assert float(lines[0]["frame_auc"]) == row["frame_auc"]
    assert len(lines) == len(table["rows"])


def test_the_command_of_a_run_repeats_it(dataset: Path, tmp_path: Path) -> None:
    table = compare(
        dataset,
        out=tmp_path / "out",
        methods=["clap"],
        settings=["collaborative"],
        seeds=[3],
        rounds=1,
        options={"local_epochs": 2},
    )
    run = table["runs"][0]
    words = shlex.split(run["command"])
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert words[0] == "clap"
    done = CliRunner().invoke(cli, [*words[1:], "--json"])
    assert json.loads(done.stdout.splitlines()[-1])["model_sha256"] == run["model_sha256"]


def test_finished_runs_are_used_and_unfinished_ones_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compare(dataset, out=tmp_path / "out", settings=["centralized"], **CHOICES)
    (Path(first["runs"][1]["run"]) / "metrics.json").unlink()

    def no_training(*_: object, **__: object) -> None:
        raise AssertionError("a run was trained again")

    monkeypatch.setattr(running, "train", no_training)
    again = compare(dataset, out=tmp_path / "out", settings=["centralized"], **CHOICES)
    for run in (*first["runs"], *again["runs"]):
        del run["seconds"]
    assert again["runs"] == first["runs"]


@pytest.mark.slow
def test_runs_side_by_side_are_the_same_runs(dataset: Path, tmp_path: Path) -> None:
    choices = {"methods": ["clap", "c2fpl"], "settings": ["collaborative"], "strategies": ["fedavg", "scaffold"]}
    options = {"eta": 0.5, "server_lr": 0.5, "local_epochs": 3}  # each goes to those that have it
    choices |= {"seeds": [0], "rounds": 2, "options": options}
    alone = compare(dataset, out=tmp_path / "alone", jobs=1, **choices)
    beside = compare(dataset, out=tmp_path / "beside", jobs=2, **choices)
    assert len(alone["runs"]) == 4
    assert [run["model_sha256"] for run in beside["runs"]] == [run["model_sha256"] for run in alone["runs"]]
    reported = {(run["method"], run["strategy"]): run for run in alone["runs"]}
    assert ("eta" in reported["c2fpl", "fedavg"], "server_lr" in reported["c2fpl", "fedavg"]) == (True, False)
    assert ("eta" in reported["clap", "scaffold"], "server_lr" in reported["clap", "scaffold"]) == (False, True)


@pytest.mark.parametrize("change", ["rounds", "truth", "lists"])
def test_a_run_of_other_choices_or_data_is_not_reused(dataset: Path, tmp_path: Path, change: str) -> None:
    choices = {"settings": ["centralized"], "seeds": [0], "rounds": 1}
    first = compare(dataset, out=tmp_path / "out", **choices)
    if change == "rounds":
        choices["rounds"] = 2
    elif change == "truth":
        np.savez(dataset / "frame_labels.npz", v11=np.ones(192, np.uint8))
    else:
        lines = (dataset / "videos.csv").read_text().splitlines()
        (dataset / "videos.csv").write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    second = compare(dataset, out=tmp_path / "out", **choices)
    assert first["runs"][0]["run"] != second["runs"][0]["run"]


def test_published_values_stand_beside_the_benchmark(dataset: Path, tmp_path: Path) -> None:
    (dataset / "truth.json").write_text('{"dataset": "ucf-crime"}')
    choices = {"methods": ["clap"], "settings": ["centralized", "collaborative"], "seeds": [0], "rounds": 1}
    table = compare(dataset, out=tmp_path / "out", **choices)
    assert [row["published"] and row["published"]["percent"] for row in table["rows"][:3]] == [80.9, 73.99, None]
    assert len(table["published"]) == 21
    markdown = (tmp_path / "out" / "table.md").read_text()
    assert "80.90" in markdown
    assert "CVPR 2024" in markdown
    assert "Comparison on ucf-crime" in markdown


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"methods": ["clap", "magic"]}, "unknown method 'magic'"),
        ({"settings": []}, "--settings: nothing chosen"),
        ({"settings": ["alone"]}, "--setting must be 'centralized', 'local' or 'collaborative', not 'alone'"),
        ({"seeds": [1, 1]}, "--seeds: 1,1 names one twice"),
        ({"seeds": [0, -1]}, "--seed must be 0 or more, not -1"),
        ({"strategies": ["mean"]}, "unknown strategy 'mean'; known: "),
        ({"protocol": "cities"}, "unknown protocol 'cities'"),
        ({"options": {"colour": 1}}, "no setting 'colour'"),
    ],
)
def test_bad_choices_are_refused_before_anything_runs(
    dataset: Path, tmp_path: Path, choices: dict[str, object], message: str
) -> None:
    with pytest.raises(ClapError, match=message):
        compare(dataset, out=tmp_path / "out", **choices)
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_test_videos_is_refused(dataset: Path, tmp_path: Path) -> None:
    text = (dataset / "videos.csv").read_text().replace(",test,", ",train,")
    (dataset / "videos.csv").write_text(text)
    with pytest.raises(ClapError, match="no test videos"):
        compare(dataset, out=tmp_path / "out")
