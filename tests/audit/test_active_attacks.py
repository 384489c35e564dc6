"""A malicious coordinator against the sites of a COMET run: it succeeds without protection, and not with noise."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_vad.audit.active_attacks import lying
from clap_vad.audit.replay import replay
from clap_vad.cli.privacy import audit
from clap_vad.specification.reading import read_specification
from clap_vad.specification.run import Privacy
from clap_vad.workflows.opening import open_run
from synthetic import make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("lying") / "data", videos=3, dim=6)


def lied(quick_train, dataset: Path, folder: Path, **changes) -> dict:
    quick_train(dataset, folder / "run", method="comet", **changes)
    opened = open_run(read_specification(folder / "run"))
    observed = replay(opened, folder / "again", rounds=2)
    found = lying(opened, observed, folder / "run", folder / "scratch")
    assert found is not None
    return found


CLIPPED = Privacy(math.inf, 1e-6, unit="crop")


def test_without_noise_rows_come_back_and_sums_open(tmp_path, quick_train, dataset):
    found = lied(quick_train, dataset, tmp_path, rounds=12, privacy=CLIPPED)
    for row in found["slabs"]:
        assert row["within_5"] > row["rows"] // 2
        assert row["chance_gaussian"] <= 2
        assert row["chance_density"] <= 2
    assert sum(row["within_5"] for row in found["extremes"]) > 3
    assert max(row["off"] for row in found["counts"]) < 1
    assert min(row["exact"] for row in found["counts"]) > 0.5
    errors = found["differencing"]
    assert max(errors[step] for step in ("sizes", "moments", "expect")) == 0
    assert found["subtraction"]["opened"] == found["subtraction"]["sums"] > 0
    assert found["collusion"] is None


def test_under_masks_without_noise_rows_of_the_sum_come_back_and_one_site_by_differences(
    tmp_path, quick_train, dataset
):
    found = lied(quick_train, dataset, tmp_path, rounds=12, privacy=CLIPPED, secure_aggregation=True)
    (union,) = found["slabs"]
    assert len(union["participants"]) == 3
    assert union["within_5"] > 50
    assert all(row["within_5"] > row["rows"] // 2 for row in found["collusion"])
    assert max(found["differencing"][step] for step in ("sizes", "moments", "expect")) < 1e-9


@pytest.mark.parametrize("secure", [False, True])
def test_under_the_noise_of_the_default_nothing_comes_back_beyond_chance(tmp_path, quick_train, dataset, secure):
    found = lied(quick_train, dataset, tmp_path, rounds=6, secure_aggregation=secure)
    for row in [*found["slabs"], *(found["collusion"] or [])]:
        assert sum(row["guesses"].values()) > 20
        assert row["within_5"] <= 1 + max(row[f"chance_{kind}"] for kind in ("gaussian", "density", "groups"))
    assert sum(row["within_5"] for row in found["extremes"]) == 0
    assert min(row["off"] for row in found["counts"]) > 2
    assert found["differencing"]["expect"] > 0.5
    assert found["subtraction"]["opened"] == 0
    assert found["subtraction"]["deviation"] > 2


def test_the_command_reports_it(tmp_path, quick_train, dataset):
    quick_train(dataset, tmp_path / "run", method="comet", rounds=2)
    arguments = [str(tmp_path / "run"), "--shadow-models", "0", "--rounds", "1"]
    output = CliRunner().invoke(audit, arguments, env={"COLUMNS": "200"}).output
    assert "rows within 5 %" in output
    assert "sums over few crops revealed" in output
    assert "A malicious coordinator recovers" in output


def test_the_attack_stays_within_what_a_run_asks(tmp_path, quick_train, dataset):
    """Every question was answered by the site's own objects: none is beyond the budget, none was refused."""
    quick_train(dataset, tmp_path / "run", method="comet", rounds=3)
    opened = open_run(read_specification(tmp_path / "run"))
    lying(opened, replay(opened, tmp_path / "again", rounds=1), tmp_path / "run", tmp_path / "scratch")
    asked = [
        [line for line in file.read_text().splitlines() if '"step": "expect"' in line]
        for file in (tmp_path / "scratch").glob("liar-*/sites/*/questions.jsonl")
    ]
    assert max(map(len, asked)) == 4
    assert np.sum([len(lines) for lines in asked]) > 0
