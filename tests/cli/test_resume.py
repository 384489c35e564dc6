"""Runs that were stopped, damaged or taken twice, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from damage import Change, cut_short, flip_bits, overwrite, set_json
from waiting import LIMIT, until

from clap_vad.federation.checkpoint import RoundLog
from clap_vad.persistence import append_line, locked_folder
from clap_vad.workflows.train import train

RESUMED: list[tuple[Change, str]] = [
    (cut_short("checkpoints/coordinator.safetensors"), "delete the run's folder 'checkpoints'"),
    (flip_bits("checkpoints/coordinator.safetensors"), "not what was saved"),
    (flip_bits("sites/north/state/*2.safetensors"), "not what was saved"),
    (lambda run: shutil.rmtree(run / "sites/north"), "questions.jsonl of this run is missing"),
    (set_json("config.json", dataset="/gone"), "put it back"),
    (set_json("config.json", inputs="0"), "have changed since this run began"),
]


@pytest.fixture(scope="module")
def stopped(made: Path) -> Path:
    """A run stopped before its second round, as a kill leaves it."""
    with pytest.MonkeyPatch.context() as patch:

        def stop(log: RoundLog, record: dict[str, Any]) -> None:
            append_line(made / "stopped/rounds.jsonl", json.dumps(record))
            raise KeyboardInterrupt

        patch.setattr(RoundLog, "append", stop)
        with pytest.raises(KeyboardInterrupt):
            train(made / "ds", made / "stopped", method="clap", rounds=2)
    return made / "stopped"


@pytest.mark.parametrize(("change", "part"), RESUMED, ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_resuming_what_is_damaged(stopped: Path, tmp_path: Path, refused: Any, change: Change, part: str) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    change(run)
    refused(part, "train", "--resume", run)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: None,
        cut_short("rounds.jsonl"),
        overwrite("rounds.jsonl", b"\xff\n5\n{}\n"),
        cut_short("sites/north/ledger.jsonl"),
        lambda run: shutil.rmtree(run / "checkpoints"),
        overwrite("sites/north/state/state-x.safetensors", "x"),
    ],
    ids=["untouched", "torn round", "odd rounds", "torn ledger", "no checkpoint", "stranger"],
)
def test_what_a_kill_can_leave_ends_in_the_same_model(
    made: Path, stopped: Path, tmp_path: Path, clap: Any, change: Change
) -> None:
    run = shutil.copytree(stopped, tmp_path / "run")
    change(run)
    status, out, err = clap("train", "--resume", run, "--json")
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 1
    whole = json.loads((made / "run/metrics.json").read_text())
    assert json.loads(out)["model_sha256"] == whole["model_sha256"]
    assert [json.loads(line)["round"] for line in (run / "rounds.jsonl").read_text().splitlines()] == [1, 2]


def test_a_second_process_is_refused(stopped: Path, refused: Any) -> None:
    with locked_folder(stopped):
        refused("another process is using this folder", "train", "--resume", stopped)
    files = sorted(path.name for path in stopped.iterdir())
    assert files == ["checkpoints", "config.json", "rounds.jsonl", "sites"]


def test_a_page_lost_to_a_kill_is_made_again(made: Path, tmp_path: Path, clap: Any) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    (run / "report.html").unlink()
    assert clap("train", "--resume", run)[0] == 0
    assert (run / "report.html").exists()


def test_ctrl_c_is_one_sentence_and_the_run_goes_on(made: Path, tmp_path: Path, refused: Any) -> None:
    run = tmp_path / "run"
    words = ["train", str(made / "ds"), "--out", str(run), "--rounds", "3000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "clap_vad.cli", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "PYTHONPATH")},
    )
    until(lambda: process.poll() is not None or (run / "rounds.jsonl").exists(), "the first round")
    refused("another process is using this folder", "train", "--resume", run)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    assert err.startswith("clap: interrupted; nothing finished is lost")
    assert err.count("\n") == 1
    refused("finish it with 'clap train --resume", "evaluate", run)


def test_ctrl_c_within_a_string_that_python_runs_ends_in_130(tmp_path: Path) -> None:
    """Seen in scipy's imports: without care the interpreter ends in the signal, after our sentence."""
    script = tmp_path / "script.py"
    script.write_text(
        "from clap_vad.cli.command import fail\n"
        "try:\n    exec('raise KeyboardInterrupt')\nexcept KeyboardInterrupt as error:\n    fail(error)\n"
    )
    assert subprocess.run([sys.executable, "-m", "script"], cwd=tmp_path, capture_output=True).returncode == 130
