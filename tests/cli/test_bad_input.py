"""Bad input through the command line: one sentence, exit status 2, no traceback, nothing lost."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import Change, add_line, cut_short, flip_bits, overwrite, set_json

from clap_vad.persistence import save_npz


def _array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def _set(array: np.ndarray, value: float) -> np.ndarray:
    array[13, 0, 0] = value
    return array


def _truth(values: Any) -> Change:
    return lambda folder: np.savez(folder / "frame_labels.npz", **{"north-0": values})


def _scene(held: Any, **more: Any) -> Change:
    content = {"protocol": "scene", "seed": 0, "participants": held, **more}

    def change(folder: Path) -> None:
        (folder / "participants").mkdir(exist_ok=True)
        (folder / "participants/scene.json").write_text(json.dumps(content))

    return change


USAGE = [
    (("frobnicate",), "No such command"),
    (("train",), "give a DATASET and --out RUN"),
    (("train", "{ds}", "--out", "{new}", "--rounds", "zero"), "not a valid integer"),
    (("train", "{ds}", "--out", "{new}", "--rounds", "0"), "--rounds must be 1 or more, not 0"),
    (("train", "{ds}", "--out", "{new}", "--threads", "99999"), "--threads must be 256 or less"),
    (("train", "{ds}", "--out", "{new}", "--seed", "9" * 30), "--seed must be below 9223372036854775808"),
    (("train", "{ds}", "--out", "{new}", "--lr", "inf"), "--lr is inf"),
    (("train", "{ds}", "--out", "{new}", "--weight-decay", "nan"), "--weight-decay is nan"),
    (("train", "{ds}", "--out", "{new}", "--lr-milestones", "-5"), "--lr-milestones"),
    (("train", "{ds}", "--out", "{new}", "--protocol", "../x"), "unknown protocol"),
    (("train", "{ds}", "--out", "{new}", "--protocol", "event"), "no training video has an event"),
    (("train", "{new}", "--out", "{new}"), "not a dataset"),
    (("train", "{ds}", "--out", "{ds}"), "is not empty"),
    (("train", "{ds}", "--out", "{run}"), "contains a run; continue it"),
    (("train", "{ds}", "--out", "{ds}/videos.csv"), "a file is in the way"),
    (("train", "{ds}", "--out", "{ds}/" + "n" * 300), "File name too long"),
    (("train", "--resume", "{ds}"), "no run there"),
    (("train", "--resume", "{run}", "--seed", "1"), "no other arguments"),
    (("compare", "{ds}", "--out", "{new}", "--seeds", ","), "nothing chosen"),
    (("compare", "{ds}", "--out", "{new}", "--seeds", "0,0"), "names one twice"),
    (("compare", "{ds}", "--out", "{ds}/videos.csv"), "a file is in the way"),
    (("label", "{ds}", "--out", ""), "is a folder"),
    (("evaluate", "{ds}"), "not a run"),
    (("evaluate", "{run}", "--dataset", "{new}"), "not a dataset"),
    (("alarms", "{ds}"), "not a run"),
    (("alarms", "{run}", "--rate", "0"), "--rate 0"),
    (("report", "{new}"), "no run there"),
    (("score", "{run}", "{ds}/videos.csv"), "cannot score video files"),
    (("features", "info", "{ds}/videos.csv"), "not a feature store"),
    (("dataset", "partition", "{ds}", "--protocol", "nope"), "unknown protocol"),
    (("dataset", "partition", "{ds}", "--protocol", "random", "--participants", "99"), "too few"),
    (("dataset", "create", "--store", "{ds}/store", "--videos", "{ds}", "--out", "{new}"), "Is a directory"),
    (("demo", "--out", "{ds}"), "not the folder of a demo"),
]


@pytest.mark.parametrize(
    ("words", "part"), USAGE, ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else ""
)
def test_usage(made: Path, tmp_path: Path, refused: Any, words: tuple[str, ...], part: str) -> None:
    places = {"ds": made / "ds", "run": made / "run", "new": tmp_path / "new"}
    refused(part, *(word.format(**places) for word in words))
    assert not (tmp_path / "new").exists()


DATASETS: list[tuple[Change, str]] = [
    (overwrite("videos.csv", ""), "header must be"),
    (overwrite("videos.csv", "video,split\n"), "lists no videos"),
    (overwrite("videos.csv", "video;split,scene\nnorth-1;train,\n"), "mixes separators"),
    (add_line("videos.csv", "north-1,train,,,\n"), "'north-1' is listed twice"),
    (add_line("videos.csv", "ghost,train,north,,0\n"), "'ghost' is in videos.csv but in no store"),
    (add_line("videos.csv", "ghost,test,north,,0\n"), "'ghost' is in videos.csv but in no store"),
    (add_line("videos.csv", "g,valid,,,\n"), "line 10: split is 'valid'"),
    (add_line("videos.csv", "g,train,,,2\n"), "line 10: label is '2'"),
    (add_line("videos.csv", "g\0h,train,,,\n"), "line 10: contains a NUL byte"),
    (overwrite("videos.csv", "vidéo,split\n".encode("latin-1")), "not a UTF-8 text file"),
    (lambda folder: shutil.rmtree(folder / "store"), "no features yet"),
    (lambda folder: (folder / "store/store.json").unlink(), "store.json is missing"),
    (set_json("store/store.json", schema_version=9), "schema version 9"),
    (set_json("store/store.json", settings=[1]), "'settings' must be an object"),
    (set_json("store/store.json", segment_frames=True), "'segment_frames'"),
    (cut_short("store/features.npy"), "not a readable .npy"),
    (overwrite("store/features.npy", pickle.dumps({})), "not a readable .npy"),
    (_array("store/features.npy", lambda x: x.astype(np.float64)), "float16 or float32"),
    (_array("store/features.npy", lambda x: x[:, :, :0]), "contains no features"),
    (_array("store/features.npy", lambda x: x[:-3]), "are outside the store"),
    (_array("store/features.npy", lambda x: _set(x, np.nan)), "video 'north-1', segment 1: a feature is NaN"),
    (_array("store/features.npy", lambda x: _set(x, 3e38)), "far too large"),
    (overwrite("store/index.csv", "a,b\n"), "header is 'a,b'"),
    (add_line("store/index.csv", "north-0,0,3,48,\n"), "is listed twice"),
    (add_line("store/index.csv", "x,0,3,48,nan\n"), "fps positive"),
    (overwrite("frame_labels.npz", "no zip"), "not a readable .npz of frame labels"),
    (cut_short("frame_labels.npz"), "not a readable .npz of frame labels"),
    (_truth(np.zeros((1, 192), np.uint8)), "flat integer array"),
    (_truth(np.zeros(192)), "flat integer array with one 0 or 1"),
    (_truth(np.full(192, 7)), "values other than 0 and 1"),
    (_truth(np.array([None, {}])), "not a readable .npz of frame labels"),
    (overwrite("participants", ""), "participants: File exists"),
    (_scene({}), "no participants"),
    (_scene([1]), "not a participants file"),
    (_scene({"a": []}), "non-empty list"),
    (_scene({"a": [1]}), "non-empty list"),
    (_scene({"a": ["ghost"]}), "'ghost' is not a training video"),
    (_scene({"a": ["north-0"]}), "'north-0' is not a training video"),
    (_scene({"a": ["north-1"], "b": ["north-1"]}), "assigned twice, to 'a' and 'b'"),
    (_scene({"../x": ["north-1"]}), "cannot be a folder name"),
    (_scene({"a\nb": ["north-1"]}), r"'a\nb' cannot be a folder name"),
    (_scene({"\ud800": ["north-1"]}), "cannot be a folder name"),
    (_scene({"n" * 300: ["north-1"]}), "cannot be a folder name"),
    (_scene({"a": ["north-1"]}, seed="x"), "'seed' must be an integer"),
]


@pytest.mark.parametrize(("change", "part"), DATASETS, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_datasets(made: Path, tmp_path: Path, refused: Any, change: Change, part: str) -> None:
    dataset = shutil.copytree(made / "ds", tmp_path / "my ds ü", ignore=shutil.ignore_patterns("participants"))
    change(dataset)
    options = ("--rounds", "1", "--protocol", "scene", "--method", "clap")
    refused(part, "train", dataset, "--out", tmp_path / "run", *options)
    if "feature is" not in part and "far too" not in part:  # found only when the features are read
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"seed":' + b"9" * 5000 + b"}", b"\xff\xfe", b'{"a":'])
def test_json_that_cannot_be_read(made: Path, tmp_path: Path, refused: Any, content: bytes) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    refused("odd.json: ", "dataset", "partition", made / "ds", "--protocol", tmp_path / "odd.json")


RUNS: list[tuple[Change, tuple[str, ...], str]] = [
    (overwrite("config.json", "{"), ("report", "{run}"), "not valid JSON"),
    (set_json("config.json", more=1), ("train", "--resume", "{run}"), "not the configuration"),
    (set_json("config.json", rounds="x"), ("train", "--resume", "{run}"), "'rounds' must be a whole number, not 'x'"),
    (
        set_json("config.json", update_encoding="int4"),
        ("train", "--resume", "{run}"),
        "must be 'float32' or 'int8'",
    ),
    (set_json("config.json", threads="x"), ("evaluate", "{run}"), "'threads' must be"),
    (set_json("config.json", dataset="/gone"), ("evaluate", "{run}"), "give its folder by --dataset"),
    (overwrite("metrics.json", "[]"), ("train", "--resume", "{run}"), "not the metrics of a run"),
    (overwrite("metrics.json", "{}"), ("train", "--resume", "{run}"), "not the metrics of a run"),
    (lambda run: (run / "metrics.json").unlink(), ("evaluate", "{run}"), "has not finished"),
    (overwrite("scores.npz", "hello"), ("evaluate", "{run}"), "not a readable .npz of scores"),
    (overwrite("scores.npz", "hello"), ("report", "{run}"), "not a readable .npz of scores"),
    (lambda run: save_npz(run / "scores.npz", {"north-0": np.zeros(2)}), ("evaluate", "{run}"), "has 12 segments"),
    (flip_bits("model.safetensors"), ("evaluate", "{run}", "--dataset", "{ds}"), "SHA-256"),
    (cut_short("model.safetensors"), ("evaluate", "{run}", "--dataset", "{ds}"), "damaged"),
    (overwrite("model.json", "[]"), ("evaluate", "{run}", "--dataset", "{ds}"), "schema version None"),
    (set_json("model.json", normaliser={"mean": [1], "scale": [1]}), ("score", "{run}", "x.mp4"), "8 finite numbers"),
    (set_json("model.json", normaliser=5), ("score", "{run}", "x.mp4"), "8 finite numbers"),
    (
        set_json("model.json", extractor={"name": "tracks", "settings": [1]}),
        ("score", "{run}", "x.txt"),
        "'extractor' does not name one",
    ),
    (set_json("model.json", extractor={"name": "motion"}), ("score", "{run}", "x.mp4"), "takes 8 floats"),
]


@pytest.mark.parametrize(("change", "words", "part"), RUNS)
def test_runs(made: Path, tmp_path: Path, refused: Any, change: Change, words: tuple[str, ...], part: str) -> None:
    run = shutil.copytree(made / "run", tmp_path / "run")
    change(run)
    refused(part, *(word.format(run=run, ds=made / "ds") for word in words), "--json")
