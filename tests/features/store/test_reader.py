"""The reader of a store meets every way a store can be incomplete or inconsistent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a störe"
    mask = np.array([[True, False]] * 3)
    with StoreWriter(path, extractor="x", settings={}, crops=2, dim=3, with_valid=True, dtype="float16") as writer:
        writer.append("one", [(np.arange(18).reshape(3, 2, 3), mask)], 40, 12.5)
        writer.finish()
    return path


def test_reads_what_is_there(folder: Path) -> None:
    store = FeatureStore(folder)
    assert (store.segments, store.crops, store.dim, store.segment_frames, store.extractor) == (3, 2, 3, 16, "x")
    rows = store.read(1, 3)
    assert rows.dtype == np.float32 and rows.flags.writeable
    np.testing.assert_array_equal(rows, np.arange(6, 18).reshape(2, 2, 3))
    assert "one" in store and "two" not in store and store.video("one").fps == 12.5
    with pytest.raises(ClapError, match="no video 'two'"):
        store.video("two")
    with pytest.raises(ValueError, match="read-only"):
        store.features[0] = 0


def rewrite(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def array(name: str, value: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, value)


HEADER = "video,start,stop,frames,fps\n"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "store.json").unlink(), r"not a feature store \(store\.json is missing\)"),
        (lambda f: (f / "store.json").rename(f / "writing.json"), "this store is unfinished; repeat the command"),
        (rewrite("store.json", "{"), r"store\.json: line 1: not valid JSON"),
        (rewrite("store.json", "[]"), "schema version None"),
        (rewrite("store.json", '{"schema_version": 9}'), "schema version 9"),
        (rewrite("store.json", '{"schema_version": 1, "extractor": "x"}'), "'segment_frames' is missing"),
        (lambda f: (f / "features.npy").unlink(), r"features\.npy: missing; extract it again"),
        (rewrite("features.npy", ""), r"features\.npy: not a readable"),
        (array("features.npy", np.ones((3, 6), np.float16)), "must have 3 dimensions"),
        (array("features.npy", np.ones((3, 2, 3))), "dtype is float64"),
        (array("features.npy", np.asfortranarray(np.ones((3, 2, 3), np.float32))), "column-major"),
        (lambda f: (f / "features.npy").write_bytes((f / "features.npy").read_bytes()[:-1]), "not a readable"),
        (array("valid.npy", np.ones((3, 3), bool)), r"valid\.npy: .* does not fit"),
        (array("valid.npy", np.ones((3, 2), np.uint8)), r"valid\.npy: uint8"),
        (lambda f: (f / "index.csv").unlink(), r"index\.csv: missing"),
        (lambda f: (f / "index.csv").write_bytes(b"\xe9"), "line 1: not a UTF-8 text file"),
        (
            rewrite("store.json", '{"schema_version": 1, "extractor": "x", "segment_frames": "16x"}'),
            "an integer",
        ),
        (rewrite("index.csv", ""), "header is ''"),
        (rewrite("index.csv", "name,a,b\n"), "header is 'name,a,b'"),
        (rewrite("index.csv", HEADER + "one,0,4,64,\n"), r"line 2: rows \[0, 4\)"),
        (rewrite("index.csv", HEADER + "one,2,2,64,\n"), r"rows \[2, 2\)"),
        (rewrite("index.csv", HEADER + "one,0,x,64,\n"), "line 2: 'one,0,x,64,' is not"),
        (rewrite("index.csv", HEADER + "one,0\n"), "line 2: 'one,0,,,' is not"),
        (rewrite("index.csv", HEADER + "one,0,3,0,\n"), "frames must be at least 1"),
        (rewrite("index.csv", HEADER + "one,0,3,40,nan\n"), "fps positive or empty"),
        (rewrite("index.csv", HEADER + "one,0,2,32,\none,2,3,16,\n"), "'one' is listed twice"),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(folder)
    with pytest.raises(ClapError, match=says):
        FeatureStore(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="not a feature store"):
        FeatureStore(tmp_path / "absent")
