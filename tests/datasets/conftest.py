"""Small datasets and releases, of exactly the published shape."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from clap_vad.features.store.writer import StoreWriter

_SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Folder of real research data by name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        folder = (_SHARED / name).resolve()
        if not folder.is_dir():
            pytest.skip(f"real data needed, {folder} is not there")
        return folder

    return find


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """A finished store of random features: ``make_store({"video": frames})``."""

    def make(frames: dict[str, int], name: str = "store") -> Path:
        path, random = tmp_path / name, np.random.default_rng(0)
        with StoreWriter(path, extractor="rtfm", settings={}, crops=2, dim=3, normalise="none") as writer:
            for video, count in frames.items():
                block = random.normal(size=(-(-count // 16), 2, 3)).astype(np.float32)
                writer.append(video, [block], count, None)
            writer.finish()
        return path

    return make


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """A CSV table from rows, the first of which is the header."""

    def write(rows: Sequence[Sequence[object]], name: str = "videos.csv") -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows(rows)
        return file

    return write


@pytest.fixture
def bare_dataset(tmp_path: Path, write_table: Callable[..., Path]) -> Path:
    """A dataset without features: 20 training videos of two event classes and three scenes, one test video."""
    rows: list[list[object]] = [["video", "split", "scene", "event", "label"]]
    for number in range(20):
        event = "Fire" if number in (1, 4, 9) else "Fight" if number in (2, 6) else ""
        rows.append([f"v{number:02d}", "train", f"camera-{number % 3}", event, int(bool(event))])
    rows.append(["t00", "test", "camera-9", "", ""])
    write_table(rows, "dataset/videos.csv")
    return tmp_path / "dataset"
