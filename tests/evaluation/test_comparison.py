"""The comparison table and the published numbers."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest

from clap_vad.evaluation.comparison import (
    COLUMNS,
    Row,
    baseline_rows,
    csv_table,
    markdown_table,
    row_texts,
    summarise_runs,
)
from clap_vad.evaluation.published import PUBLISHED, published_metric, published_results, published_value
from clap_vad.evaluation.spread import mean_and_std

RUNS = {
    3: {"frame_auc": 0.71, "frame_ap": 0.31, "seconds": 2.0},
    5: {"frame_auc": 0.69, "frame_ap": 0.35, "seconds": 4.0},
}
SPECIFICATION = Path(__file__).resolve().parents[2] / ".." / "shared" / "spec" / "methods.md"


def test_mean_and_std_equal_numpy() -> None:
    values = [0.61, 0.65, 0.7]
    mean, std = mean_and_std(values)
    assert mean == pytest.approx(np.mean(values))
    assert std == pytest.approx(np.std(values, ddof=1))
    assert mean_and_std([]) == (None, None)
    assert mean_and_std([0.5, None]) == (None, None)


def test_a_row_is_the_mean_over_seeds() -> None:
    value = published_value("ucf-crime", "clap", "local", "us")
    row = summarise_runs(RUNS, value, method="clap", setting="local", supervision="us", strategy="", protocol="scene")
    assert (row.seeds, row.seconds) == ((3, 5), 3.0)
    figures = ("70.00 ± 1.41", "33.00 ± 2.83", "63.93", "+6.07", "–", "3.0")
    assert row_texts(row) == ("clap", "local", "us", "–", "scene", "2", *figures)
    assert Row.from_json(json.loads(json.dumps(row.as_json()))) == row


def test_an_undefined_metric_stays_undefined() -> None:
    row = summarise_runs({0: {"frame_auc": None, "frame_ap": 0.2}}, method="clap")
    assert row_texts(row)[5:] == ("1", "–", "20.00", "–", "–", "–", "–")
    assert Row.from_json(row.as_json()) == row


def test_markdown_and_csv_hold_every_row() -> None:
    rows = [summarise_runs(RUNS, method="a|b"), *baseline_rows({"knn": {"frame_auc": 0.5, "frame_ap": None}})]
    lines = markdown_table(rows).splitlines()
    assert len(lines) == 4
    assert all(len(re.split(r"(?<!\\)\|", line)) == len(COLUMNS) + 2 for line in lines)
    assert "baseline: knn" in lines[3]
    table = list(csv.DictReader(io.StringIO(csv_table(rows))))
    assert float(table[0]["frame_auc"]) == pytest.approx(0.7)
    assert (table[0]["seeds"], table[1]["seeds"], table[1]["frame_ap"], table[1]["published"]) == ("3 5", "", "", "")


def test_published_numbers_are_those_of_the_specification() -> None:
    if not SPECIFICATION.exists():
        pytest.skip(f"{SPECIFICATION} is not here")
    section = SPECIFICATION.read_text().split("## 7.")[1].split("## 8.")[0]
    setting, found = "", []
    for line in section.splitlines():
        texts = [text.strip() for text in line.strip("|").split("|")]
        if len(texts) == 6 and re.fullmatch(r"[\d.]+", texts[2]):
            setting = (texts[0] or setting).lower()
            found += [(setting, texts[1].lower(), float(text)) for text in texts[2:]]
    main = [entry for entry in PUBLISHED if not entry.strategy]
    assert len(main) == 36
    assert [(entry.setting, entry.method, entry.percent) for entry in main] == found
    scene = re.findall(r"(FedAvg|FedProx|SCAFFOLD) (\d+\.\d+)", section)
    assert [(e.strategy, e.percent) for e in PUBLISHED if e.strategy] == [(n.lower(), float(v)) for n, v in scene]


@pytest.mark.parametrize(
    ("dataset", "setting", "supervision", "strategy", "protocol", "percent"),
    [
        ("ucf-crime", "collaborative", "us", "fedavg", None, 78.02),
        ("ucf-crime", "collaborative", "us", "fedavg", "official-random-5", 78.02),
        ("ucf-crime", "collaborative", "us", "scaffold", "scene", 73.7),
        ("ucf-crime", "collaborative", "us", "fedavg", "official-scene-11", 73.99),
        ("ucf-crime", "local", "us", "fedavg", "scene", 63.93),
        ("ucf-crime", "collaborative", "ws", "fedavg", "scene", None),
        ("ucf-crime", "collaborative", "us", "fedprox", "random", None),
        ("xd-violence", "centralized", "ws", "fedavg", None, 90.04),
        ("my-cameras", "centralized", "ws", "fedavg", None, None),
    ],
)
def test_the_published_value_fits_the_row(
    dataset: str, setting: str, supervision: str, strategy: str, protocol: str | None, percent: float | None
) -> None:
    found = published_value(dataset, "clap", setting, supervision, strategy=strategy, protocol=protocol)
    assert (found.percent if found else None) == percent


def test_all_published_numbers_of_a_dataset_are_listed() -> None:
    assert len(published_results("ucf-crime")) == 21
    assert len(published_results("xd-violence")) == 18
    assert published_metric("xd-violence") == "frame_auc"
    assert published_metric("my-cameras") is None


def test_the_best_round_has_a_column_of_its_own_and_is_no_result() -> None:
    runs = {seed: {"frame_auc": 0.6, "frame_ap": 0.3, "frame_auc_best_round": 0.7 + seed / 10} for seed in (0, 1)}
    row = summarise_runs(runs, method="clap")
    assert dict(zip(COLUMNS, row_texts(row), strict=True))["Best round on test labels %"] == "75.00"
    assert row.frame_auc == 0.6


def test_main_table_figures_stand_beside_equal_shares_among_five_only() -> None:
    for protocol in (None, "random-5", "official-random-5"):
        assert published_value("ucf-crime", "c2fpl", "collaborative", "us", protocol=protocol).percent == 75.20
    for protocol in ("official-random-10", "official-event-13", "official-scene-11", "dirichlet-5"):
        assert published_value("ucf-crime", "c2fpl", "collaborative", "us", protocol=protocol) is None
        assert published_value("ucf-crime", "c2fpl", "local", "us", protocol=protocol).percent == 61.33
