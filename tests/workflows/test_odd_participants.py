"""Participants with one video, one kind of video, one segment or nothing that can be read, under every method."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms.method import METHODS
from clap_vad.datasets.dataset import Dataset, Participants, VideoRecord, write_videos_csv
from clap_vad.detector.model import Model
from clap_vad.detector.network import initial_weights
from clap_vad.features.store.writer import StoreWriter

CROPS, DIM = 2, 8
HELD = {
    "one-video": ["v0"],
    "only-normal": ["v1", "v2", "v3"],
    "only-anomalous": ["a0", "a1"],
    "one-segment": ["s0"],
    "no-crop": ["n0", "n1"],
    "some": ["v4", "a2", "v5", "n2"],
}
QUICK = {"min_steps": 0, "local_epochs": 1}
OPTIONS = {
    "clap": {**QUICK, "refine_from": 1},
    "c2fpl": QUICK,
    "gcl": {**QUICK, "pretrain_rounds": 1, "negative_from": 1},
}

pytestmark = pytest.mark.usefixtures("small_generator")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    path, rng = tmp_path_factory.mktemp("data") / "d", np.random.default_rng(0)
    records = []
    with StoreWriter(
        path / "store", extractor="test", settings={}, crops=CROPS, dim=DIM, with_valid=True, normalise="none"
    ) as writer:
        for videos in HELD.values():
            for video in videos:
                length = 1 if video == "s0" else int(rng.integers(8, 20))
                x = np.abs(rng.normal(1, 0.1, (length, CROPS, DIM))).astype(np.float32)
                if video.startswith("a"):
                    x[3:6] *= 3
                valid = rng.random((length, CROPS)) < 0.8
                valid[0] = True
                if video.startswith("n"):
                    valid[:] = False
                writer.append(video, [(x, valid)], frames=16 * length, fps=None)
                records.append(VideoRecord(video, "train", "", "", int(video.startswith("a"))))
        writer.finish()
    write_videos_csv(path / "videos.csv", records)
    opened = Dataset(path)
    Participants("odd", 0, {name: tuple(videos) for name, videos in HELD.items()}).write(
        opened.participants_file("odd")
    )
    return path


def model_of(run: Path) -> dict[str, np.ndarray]:
    weights = Model.load(run).weights
    assert all(np.isfinite(value).all() for value in weights.values())
    return weights


def trained(weights: dict[str, np.ndarray]) -> bool:
    return any(not np.array_equal(value, weights[name]) for name, value in initial_weights(DIM, 0).items())


def test_every_method_has_a_case():
    assert set(METHODS) == OPTIONS.keys() | {"comet"}  # which has another model: algorithms/test_comet.py


@pytest.mark.parametrize("supervision", ["us", "ws", "mixed"])
@pytest.mark.parametrize("method", OPTIONS)
def test_they_take_part_together(dataset, tmp_path, quick_train, method, supervision):
    options = {"method": method, "supervision": supervision, "protocol": "odd", "labelled_participants": 0.5}
    for normalise in ("none", "federated"):
        run = tmp_path / normalise
        metrics = quick_train(dataset, run, rounds=2, normalise=normalise, **options, **OPTIONS[method])
        assert metrics["frame_auc"] is None  # no test videos
        assert trained(model_of(run))
        assert len((run / "rounds.jsonl").read_text().splitlines()) == 2
        for participant in HELD:
            lines = (run / "sites" / participant / "ledger.jsonl").read_text().splitlines()
            assert sum(json.loads(line)["step"] == "train" for line in lines) == 2


@pytest.mark.parametrize("supervision", ["us", "ws", "mixed"])
@pytest.mark.parametrize("method", OPTIONS)
def test_each_alone_learns_what_it_can(dataset, tmp_path, quick_train, method, supervision):
    """Only who has nothing that can be read keeps the initial model."""
    options = {"method": method, "supervision": supervision, "protocol": "odd", "setting": "local"}
    quick_train(dataset, tmp_path / "run", rounds=2, labelled_participants=0.5, **options, **OPTIONS[method])
    learned = {name: trained(model_of(tmp_path / "run" / "participants" / name)) for name in HELD}
    assert learned == {name: name != "no-crop" for name in HELD}


@pytest.mark.parametrize("strategy", ["scaffold", "fedyogi", "median", "multi-krum"])
def test_who_has_nothing_to_train_on_does_not_hold_the_others_back(dataset, tmp_path, quick_train, strategy):
    """Without it the rounds come to the same model, bit for bit."""
    opened = Dataset(dataset)
    others = {name: tuple(videos) for name, videos in HELD.items() if name != "no-crop"}
    Participants("others", 0, others).write(opened.participants_file("others"))
    models = []
    for protocol in ("odd", "others"):
        options = {"method": "c2fpl", "supervision": "ws", "protocol": protocol, "strategy": strategy}
        models.append(quick_train(dataset, tmp_path / protocol, rounds=3, **options, **QUICK)["model_sha256"])
    assert models[0] == models[1]
