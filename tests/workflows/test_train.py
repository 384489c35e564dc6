"""The chain from dataset to metrics: results, determinism, kill and resume, odd participants."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset, Participants
from clap_vad.detector.model import Model
from clap_vad.detector.network import weight_shapes
from clap_vad.errors import ClapError
from clap_vad.persistence import file_sha256
from clap_vad.workflows.label import label
from clap_vad.workflows.train import resume, train
from synthetic import SCENES, make_dataset

train = partial(train, method="clap")  # what these tests are about


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def reference(dataset, tmp_path_factory) -> dict:
    return train(dataset, tmp_path_factory.mktemp("reference") / "run", rounds=6)


def test_the_run_folder_keeps_the_contract(dataset, tmp_path):
    metrics = train(dataset, tmp_path / "run", rounds=5, seed=3)
    run = tmp_path / "run"
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert {"method", "setting", "supervision", "strategy", "protocol", "rounds", "seed", "seconds"} <= metrics.keys()
    assert metrics["model_sha256"] == file_sha256(run / "model.safetensors")
    assert [json.loads(line)["round"] for line in (run / "rounds.jsonl").read_text().splitlines()] == [1, 2, 3, 4, 5]
    assert (run / "report.html").stat().st_size > 1000
    assert (dataset / "participants" / "scene.json").exists()
    with np.load(run / "scores.npz") as scores:
        opened = Dataset(dataset)
        assert set(scores.files) == set(opened.test_videos)
        store, entry = opened.locate("north-test-1")
        model = Model.load(run)
        again = model.score(store.read(entry.start, entry.stop))
        np.testing.assert_allclose(scores["north-test-1"], again, rtol=1e-5)
    # What travelled: four updates a round plus a Gaussian, two counts and a histogram each.
    weights = sum(value.nbytes for value in model.weights.values())
    assert metrics["bytes_up"] == 4 * (5 * (weights + 16) + 24 + 8 + 8 * 4096)
    assert (metrics["bytes_up_per_round"], metrics["bytes_down_per_round"]) == (4 * (weights + 16), 4 * (weights + 8))
    assert metrics["update_encoding"] == "float32"


@pytest.mark.parametrize("secure", [False, True])
def test_updates_in_8_bits_travel_for_a_quarter_or_under_masks_for_half(dataset, tmp_path, secure):
    masked = {"secure_aggregation": secure, "density": "pooled"}
    metrics = {
        encoding: train(dataset, tmp_path / encoding, rounds=4, update_encoding=encoding, baselines={}, **masked)
        for encoding in ("float32", "int8")
    }
    assert metrics["int8"]["update_encoding"] == "int8"
    lines = [json.loads(line) for line in (tmp_path / "int8" / "rounds.jsonl").read_text().splitlines()]
    full, size = metrics["float32"]["bytes_up_per_round"], sum(np.prod(s) for s in weight_shapes(16).values())
    assert lines[0]["bytes_up"] == full
    saved = (2 if secure else 3) * size * len(SCENES)
    assert [full - line["bytes_up"] for line in lines[1:]] == pytest.approx([saved] * 3, abs=2 * 6 * len(SCENES))
    # A step an array and the question's number are all that comes down beside the model.
    assert lines[1]["bytes_down"] - lines[0]["bytes_down"] == 4 * (6 * 4 + 8)
    assert metrics["int8"]["bytes_up_per_round"] == sum(line["bytes_up"] for line in lines) / 4
    assert abs(metrics["int8"]["frame_auc"] - metrics["float32"]["frame_auc"]) < 0.05


def test_a_run_begun_before_there_were_encodings_goes_on(dataset, tmp_path):
    train(dataset, tmp_path / "run", rounds=1, baselines={})
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config.pop("update_encoding") == "float32"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    for name in ("metrics.json", "model.json"):
        (tmp_path / "run" / name).unlink()
    assert resume(tmp_path / "run", baselines={})["update_encoding"] == "float32"


@pytest.mark.parametrize("setting", ["centralized", "local"])
@pytest.mark.parametrize("supervision", ["us", "ws"])
def test_other_settings(dataset, tmp_path, setting, supervision):
    metrics = train(dataset, tmp_path / "run", setting=setting, supervision=supervision, rounds=2)
    if setting == "local":
        assert sorted(p.name for p in (tmp_path / "run" / "participants").iterdir()) == sorted(SCENES)
        assert metrics["frame_auc_std"] >= 0
        own = [json.loads((tmp_path / "run/participants" / s / "model.json").read_text()) for s in SCENES]
        assert len({model["model_sha256"] for model in own}) == 4
    else:
        assert metrics["protocol"] is None
        assert metrics["participants"] == 1


def test_it_learns_to_find_the_bursts(dataset, tmp_path):
    metrics = train(dataset, tmp_path / "run", rounds=15, lr=0.1, batch_size=16)
    assert metrics["frame_auc"] > 0.9


def test_one_seed_one_result_and_another_seed_another(dataset, reference, tmp_path):
    assert train(dataset, tmp_path / "same", rounds=6)["model_sha256"] == reference["model_sha256"]
    assert train(dataset, tmp_path / "other", rounds=6, seed=1)["model_sha256"] != reference["model_sha256"]


def clap(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "clap_vad.cli", *map(str, arguments)]


BY_ROUNDS = """
import sys
from clap_vad.cli.main import main
from clap_vad.federation.checkpoint import RoundLog

append = RoundLog.append

def and_wait(log, record):
    append(log, record)
    print("a round", flush=True)
    sys.stdin.readline()

RoundLog.append = and_wait
main()
"""


def by_rounds(*arguments: object) -> list[str]:
    """The command, waiting for a line on its input after each round."""
    return [sys.executable, "-c", BY_ROUNDS, *map(str, arguments)]


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_model(dataset, reference, tmp_path):
    run = tmp_path / "run"
    command = by_rounds("train", dataset, "--out", run, "--rounds", 6, "--method", "clap")
    for delay in (0.0, 0.005, 0.02, 0.0):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "a round\n"
        if delay:  # go on, and be killed anywhere
            process.stdin.write("\n")
            process.stdin.flush()
            time.sleep(delay)
        process.kill()
        process.communicate()
        command = by_rounds("train", "--resume", run)
    metrics = resume(run)
    assert metrics["resumed"]
    assert metrics["model_sha256"] == reference["model_sha256"]
    assert [json.loads(x)["round"] for x in (run / "rounds.jsonl").read_text().splitlines()] == [1, 2, 3, 4, 5, 6]
    with np.load(run / "scores.npz") as scores:
        assert len(scores.files) == 12


def test_labels_are_never_read_without_supervision(dataset, reference, tmp_path):
    scrambled = make_dataset(tmp_path / "data")
    text = (scrambled / "videos.csv").read_text()
    swapped = "".join(
        line[:-1] + {"0": "1", "1": "0"}.get(line[-1], line[-1]) + "\n" if ",train," in line else line + "\n"
        for line in text.splitlines()
    )
    (scrambled / "videos.csv").write_text(swapped)
    assert train(scrambled, tmp_path / "run", rounds=6)["model_sha256"] == reference["model_sha256"]


def test_participants_with_one_video_one_kind_or_one_segment(tmp_path):
    dataset = make_dataset(tmp_path / "data", test=False)
    opened = Dataset(dataset)
    held = {
        "single": ("north-train-0",),
        "only-anomalous": ("south-train-1", "south-train-4"),
        "only-normal": ("east-train-0", "east-train-2", "east-train-3"),
        "rest": tuple(v for v in opened.train_videos if v.startswith("west")),
    }
    Participants("odd", 0, held).write(opened.participants_file("odd"))
    for setting in ("collaborative", "local"):
        for supervision in ("us", "ws"):
            metrics = train(
                dataset, tmp_path / f"{setting}-{supervision}", setting=setting, supervision=supervision,
                protocol="odd", rounds=2,
            )  # fmt: skip
            assert metrics["frame_auc"] is None
            assert "no test videos" in metrics["undefined"]


@pytest.mark.parametrize(
    "options",
    [
        {"entropy": "von-neumann"},
        {"normal_cluster": "calm"},
        {"density": "pooled"},
        {"segregation": "federated"},
        {"short_videos": "release"},
        {"refine": "off"},
        {"refine_model": "local", "refine_mode": "training", "refine_labels": "original", "refine_from": 2},
        {"normalise": "federated"},
        {"momentum": 0.0, "lr_milestones": "2,3", "local_epochs": 1},
        {"threads": 2},
    ],
    ids=lambda options: ",".join(f"{k}={v}" for k, v in options.items()),
)
def test_every_named_choice_runs_and_changes_the_model(dataset, reference, tmp_path, options):
    metrics = train(dataset, tmp_path / "run", rounds=6, **options)
    may_agree = ("short_videos", "normal_cluster", "entropy", "threads")  # plain videos are judged alike by all
    if not options.keys() & set(may_agree):
        assert metrics["model_sha256"] != reference["model_sha256"]
    assert metrics["frame_auc"] is not None


def test_pseudo_labels_file(dataset, tmp_path):
    found = label(dataset, tmp_path / "labels.npz", method="clap")
    opened = Dataset(dataset)
    with np.load(tmp_path / "labels.npz") as labels:
        assert labels.files == opened.train_videos
        assert all(len(labels[v]) == opened.locate(v)[1].segments for v in labels.files)
        anomalous = [v for v in labels.files if labels[v].any()]
        assert all(v.endswith(("-1", "-4")) for v in anomalous)  # the videos that hold a burst
        assert len(anomalous) >= 6
        for v in anomalous:
            assert labels[v].sum() == int(0.2 * len(labels[v]))
    assert found["labelled_videos"] == len(anomalous)


def test_bad_input_is_refused_with_its_place(dataset, tmp_path):
    with pytest.raises(ClapError, match=r"--setting must be .*, not 'centralised'"):
        train(dataset, tmp_path / "run", setting="centralised")
    with pytest.raises(ClapError, match="no setting 'foo'"):
        train(dataset, tmp_path / "run", foo=1)
    with pytest.raises(ClapError, match="one of diagonal, von-neumann"):
        train(dataset, tmp_path / "run", entropy="trace")
    assert not (tmp_path / "run").exists()
    train(dataset, tmp_path / "run", rounds=1)
    with pytest.raises(ClapError, match="contains a run; continue it"):
        train(dataset, tmp_path / "run", rounds=1)
    with pytest.raises(ClapError, match="no run there"):
        resume(tmp_path)


def test_features_changed_under_a_run_are_noticed(tmp_path):
    dataset = make_dataset(tmp_path / "data")
    train(dataset, tmp_path / "run", rounds=1)
    (tmp_path / "run" / "metrics.json").unlink()
    with (dataset / "videos.csv").open("a") as handle:
        handle.write("ghost,test,,,\n")
    with pytest.raises(ClapError, match="changed since this run began"):
        resume(tmp_path / "run")


def test_nan_in_a_store_is_named(tmp_path):
    dataset = make_dataset(tmp_path / "data", test=False)
    opened = Dataset(dataset)
    entry = opened.locate("south-train-0")[1]
    features = np.load(dataset / "store" / "features.npy", mmap_mode="r+")
    features[entry.start + 2, 1, 3] = np.nan
    features.flush()
    with pytest.raises(ClapError, match=r"south-train-0', segment 2: a feature is NaN"):
        train(dataset, tmp_path / "run", rounds=1)
