"""The command run in this process, and something for it to work on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.cli.main import main
from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
from clap_vad.features.store.writer import StoreWriter
from clap_vad.persistence import save_npz


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset ``ds`` (two scenes, three training and one test video each) and a finished ``run``."""
    root = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    records, truth = [], {}
    with StoreWriter(root / "ds/store", extractor="synthetic", settings={}, crops=2, dim=8, normalise="none") as writer:
        for scene in ("north", "south"):
            for number in range(4):
                name = f"{scene}-{number}"
                writer.append(name, [np.abs(rng.normal(1, 0.2, (12, 2, 8)))], frames=192, fps=25.0)
                records.append(VideoRecord(name, "train" if number else "test", scene, "", number % 2))
            truth[f"{scene}-0"] = np.arange(192) // 96
        writer.finish()
    save_npz(root / "ds/frame_labels.npz", truth)
    write_videos_csv(root / "ds/videos.csv", records)
    assert _main("train", root / "ds", "--out", root / "run", "--rounds", "2", "--method", "clap") == 0
    return root


@pytest.fixture
def clap(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        status = _main(*arguments)
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def refused(clap: Callable[..., tuple[int, str, str]]) -> Callable[..., None]:
    """Runs the command and asserts that it says no, in one sentence with ``part`` in it."""

    def check(part: str, *arguments: object) -> None:
        status, out, err = clap(*arguments)
        assert (status, out) == (2, ""), err
        assert err.startswith("clap: ")
        assert err.count("\n") == 1, err
        assert "unexpected" not in err
        assert part in err

    return check


def _main(*arguments: object) -> int:
    before, sys.argv = sys.argv, ["clap", *map(str, arguments)]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
