from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from clap_vad.cli.features_import import import_
from clap_vad.cli.features_info import info


def run_import(*arguments: object) -> Result:
    return CliRunner().invoke(import_, [str(argument) for argument in arguments])


def run_info(*arguments: object) -> Result:
    return CliRunner().invoke(info, [str(argument) for argument in arguments])


def test_import_then_info(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.ones((5, 2, 3), np.float32))
    (tmp_path / "list.txt").write_text("/x/a_i3d.npy,0,2\n/x/b_i3d.npy,2,5\n")
    arguments = [
        "--format",
        "clap",
        tmp_path / "all.npy",
        "--index",
        tmp_path / "list.txt",
        "--out",
        tmp_path / "a store",
    ]
    done = run_import(*arguments, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["segments"] == 5
    again = run_import(*arguments)
    assert again.exit_code == 2 and again.stdout == "" and again.stderr.count("\n") == 1
    assert "this feature store exists already" in again.stderr
    shown = run_info(tmp_path / "a store", "--verify")
    assert shown.exit_code == 0 and "referenced" not in shown.stdout
    assert "2 x 3 float32" in shown.stdout and "SHA-256 of features.npy" in shown.stdout
    data = json.loads(run_info(tmp_path / "a store", "--json").stdout)
    assert data["magnitude"]["0.5"] == 3.0 and data["in_place"] == str((tmp_path / "all.npy").resolve())


def test_changed_store_is_reported_and_exits_2(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 3), np.float32))
    assert run_import("--format", "rtfm", tmp_path / "a.npy", "--out", tmp_path / "s").exit_code == 0
    with (tmp_path / "s/index.csv").open("a") as index:
        index.write("b,2,5,48,\n")
    shown = run_info(tmp_path / "s", "--verify", "--json")
    assert shown.exit_code == 2
    assert json.loads(shown.stdout)["checks"]["as recorded"] == "videos is 2, recorded 1"
    assert "SHA-256 of index.csv: the file has changed" in shown.stderr


def test_moved_source_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.ones((5, 2, 3), np.float32))
    (tmp_path / "list.txt").write_text("a,0,5\n")
    run_import("--format", "clap", tmp_path / "all.npy", "--index", tmp_path / "list.txt", "--out", tmp_path / "s")
    (tmp_path / "all.npy").unlink()
    shown = run_info(tmp_path / "s")
    assert shown.exit_code == 2 and "has moved, import it again" in shown.stderr
