"""Every benchmark can be loaded, and stands in their index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(file.name for file in FOLDER.glob("*.py") if file.name != "shared.py")

LOAD = """
import importlib.util, sys
sys.path.insert(0, "")
for name in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("benchmark_" + name.partition(".")[0], name)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main), name
"""


@pytest.mark.slow
def test_every_benchmark_can_be_loaded():
    command = [sys.executable, "-c", LOAD, *SCRIPTS]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(SCRIPTS) > 10


def test_the_index_names_every_benchmark():
    text = (FOLDER / "README.md").read_text()
    assert [name for name in SCRIPTS if f"| `{name}` |" not in text] == []


def test_runs_of_a_benchmark_are_trained_once_and_torn_ones_resumed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import shared

    done: list[str] = []

    def finished(word: str) -> None:
        done.append(word)
        (tmp_path / "metrics.json").write_text('{"frame_auc": 0.5}')

    monkeypatch.setattr(shared.clap, "resume", lambda run, baselines: finished("resumed"), raising=False)
    (tmp_path / "config.json").touch()
    for _ in range(2):
        assert shared.train_or_resume(tmp_path, lambda: finished("trained"))["frame_auc"] == 0.5
    (tmp_path / "metrics.json").unlink()
    (tmp_path / "config.json").unlink()
    shared.train_or_resume(tmp_path, lambda: finished("trained"))
    assert done == ["resumed", "trained"]
    assert shared.percent([0.5, 0.7]) == "60.00 ± 14.14"
    assert shared.table(["a", "b"], [[1, "x"]]) == "| a | b |\n|---|---|\n| 1 | x |"
