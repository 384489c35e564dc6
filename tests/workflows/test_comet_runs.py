"""COMET as a command: every setting, labels, and options without effect."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clap_vad.algorithms.comet_site import CometSite
from clap_vad.datasets.dataset import Dataset, write_videos_csv
from clap_vad.detector.models.mixture import Remembered
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.evaluation.scoring import score_test_videos
from clap_vad.federation.ask import State
from clap_vad.federation.messages import Message
from clap_vad.specification.run import Privacy
from clap_vad.workflows.label import label
from synthetic import SCENES, make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


@pytest.mark.parametrize("setting", ["centralized", "local", "collaborative"])
def test_it_trains_and_is_evaluated_under_every_setting(tmp_path, quick_train, dataset, setting):
    out = tmp_path / "run"
    metrics = quick_train(dataset.path, out, method="comet", setting=setting, rounds=2)
    assert metrics["frame_auc"] > 0.7
    folders = [out] if setting != "local" else [out / "participants" / scene for scene in SCENES]
    for folder in folders:
        personalised = PersonalisedModels.load(folder)
        assert personalised.own.keys() == (set(SCENES) if setting != "local" else {folder.name})
        assert personalised.common.info["extractor"]["name"] == "synthetic"
        for scene, home in personalised.own.items():
            # A home has a hash of its own, and a threshold by its own site's scores.
            own = {name: home.info[name] for name in ("model_sha256", "calibration")}
            assert home.info == {**personalised.common.info, **own}
            site = [v for v in dataset.train_videos if setting == "centralized" or v.startswith(scene)]
            located = [dataset.locate(video) for video in site]
            scores = np.concatenate(
                [
                    personalised.of(dataset.videos[entry.video].scene).score_videos(store, [entry], 1)[0]
                    for store, entry in located
                ]
            )
            level = home.info["calibration"]["quantile"]
            expected = np.sort(scores)[math.ceil(level * len(scores)) - 1]
            assert home.info["calibration"]["threshold"] == pytest.approx(expected, abs=0.003)
        scores = score_test_videos(dataset, personalised, 1)
        with np.load(folder / "scores.npz") as saved:
            assert set(saved) == set(scores)
            for video in saved:
                np.testing.assert_array_equal(saved[video], scores[video])


def test_without_scenes_a_site_has_one_model_and_several_sites_share_the_common_one(tmp_path, quick_train):
    path = make_dataset(tmp_path / "d", videos=3, dim=6)
    records = [replace(record, scene="") for record in Dataset(path).videos.values()]
    write_videos_csv(path / "videos.csv", records)
    for setting, scenes in (("centralized", {""}), ("collaborative", set())):
        quick_train(path, tmp_path / setting, method="comet", setting=setting, rounds=1)
        assert PersonalisedModels.load(tmp_path / setting).own.keys() == scenes


def test_labels_are_written(tmp_path, monkeypatch, dataset):
    monkeypatch.setattr("clap_vad.workflows.label._ROUNDS", 2)
    reported = label(dataset.path, tmp_path / "labels.npz", method="comet")
    with np.load(tmp_path / "labels.npz") as labels:
        assert list(labels) == dataset.train_videos
        assert all(((labels[video] >= 0) & (labels[video] < 1)).all() for video in labels)
        assert reported["segments"] == sum(len(labels[video]) for video in labels)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "scaffold": ({"strategy": "scaffold"}, "--strategy scaffold needs sites that train by SGD"),
    "fedprox": ({"strategy": "fedprox"}, "--strategy fedprox"),
    "fedadam": (
        {"strategy": "fedadam"},
        "--strategy fedadam aggregates model updates, but method 'comet' aggregates sums",
    ),
    "fedavgm": ({"strategy": "fedavgm"}, "--strategy fedavgm aggregates model updates"),
    "each round": ({"test_each_round": True}, "--test-each-round: method 'comet' has no scores before its last round"),
    "privacy of another unit": ({"privacy": Privacy(8.0, unit="frame")}, "supports the unit crop or video"),
    "privacy of nothing": ({"privacy": Privacy(0.0, unit="crop")}, "--epsilon is 0"),
    "stragglers": ({"stragglers": 0.5}, "--stragglers: "),
    "int8": ({"update_encoding": "int8"}, "noisy sums are sent unencoded; leave out --update-encoding"),
    "an option": ({"lr": 0.1}, "comet"),
}


@pytest.mark.parametrize(("choices", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_means_nothing_to_it_is_refused(tmp_path, quick_train, dataset, choices, says):
    with pytest.raises(ClapError, match=says):
        quick_train(dataset.path, tmp_path / "run", method="comet", **choices)
    assert not (tmp_path / "run").exists()


PROMISES: dict[str, tuple[str, Privacy | None, dict[str, Any] | None]] = {
    "by default": ("collaborative", None, {"unit": "crop", "promised": 8.0, "delta": 1e-6, "seeded": True}),
    "for videos": (
        "collaborative",
        Privacy(4.0, 1e-5, unit="video"),
        {"unit": "video", "promised": 4.0, "delta": 1e-5, "seeded": False},
    ),
    "none": (
        "collaborative",
        Privacy(math.inf, unit="crop"),
        {"unit": "crop", "promised": None, "epsilon": None, "noise_training": 0.0, "noise_statistics": 0.0},
    ),
    "alone": ("local", None, None),
    "centralized": ("centralized", None, None),
}


@pytest.mark.parametrize(("setting", "privacy", "reported"), PROMISES.values(), ids=PROMISES.keys())
def test_the_privacy_of_a_run_is_in_its_metrics_and_its_ledgers(
    tmp_path, quick_train, dataset, setting, privacy, reported
):
    metrics = quick_train(dataset.path, tmp_path / "run", method="comet", setting=setting, privacy=privacy, rounds=2)
    assert ("privacy" in metrics) == (reported is not None)
    if reported is None:
        return
    found = metrics["privacy"]
    assert {name: found[name] for name in reported} == reported
    if reported["promised"] is not None:
        assert 0.9 * reported["promised"] < found["epsilon"] <= reported["promised"]
        assert min(found["noise_training"], found["noise_statistics"]) > 0.5
    for scene in SCENES:
        lines = (tmp_path / "run" / "sites" / scene / "ledger.jsonl").read_text().splitlines()
        kinds = [(json.loads(line)["schema"], json.loads(line)["protection"]) for line in lines]
        assert [kind for kind in kinds if kind[0] != "acknowledgement"] == [
            (name, "noised")
            for name in ("row_sizes", "row_moments", *["row_density"] * 3, "row_scales", "segment_peaks")
        ]


def test_the_same_seed_gives_the_same_models_with_the_noise_of_the_default_and_another_seed_others(
    tmp_path, quick_train, dataset
):
    runs = [tmp_path / name for name in ("one", "same", "other")]
    for run, seed in zip(runs, (3, 3, 4), strict=True):
        quick_train(dataset.path, run, method="comet", seed=seed, rounds=2)
    one, same, other = ((run / "model.safetensors").read_bytes() for run in runs)
    assert one == same != other
    personalised = [sorted((run / "homes").rglob("model.safetensors")) for run in runs[:2]]
    assert [file.read_bytes() for file in personalised[0]] == [file.read_bytes() for file in personalised[1]]


def test_two_sites_are_too_few_for_secure_aggregation(tmp_path, quick_train):
    path = make_dataset(tmp_path / "d", videos=2, dim=6)
    records = [replace(r, scene=r.scene if r.scene == "north" else "else") for r in Dataset(path).videos.values()]
    write_videos_csv(path / "videos.csv", records)
    with pytest.raises(ClapError, match="a sum over 2 participants hides none of them"):
        quick_train(path, tmp_path / "run", method="comet", secure_aggregation=True)


def test_videos_known_to_hold_an_anomaly_are_not_learned_from(tmp_path, quick_train):
    """Under ws they are left out; a site that holds nothing else gives nothing and gets the common model."""
    data = make_dataset(tmp_path / "data")
    opened = Dataset(data)
    held = {scene: [v for v in opened.train_videos if v.startswith(scene)] for scene in ("north", "south", "west")}
    held["east"] = [v for v in opened.train_videos if v.startswith("east") and v.endswith(("-1", "-4"))]
    content = {"protocol": "mine", "seed": 0, "participants": held}
    (data / "participants").mkdir(exist_ok=True)
    (data / "participants" / "mine.json").write_text(json.dumps(content))
    runs = {}
    for supervision in ("us", "ws"):
        runs[supervision] = tmp_path / supervision
        quick_train(data, runs[supervision], method="comet", supervision=supervision, protocol="mine", rounds=3)
    sizes = {
        (supervision, scene): len(model.experts[-1].rows) if isinstance(model.experts[-1], Remembered) else 0
        for supervision, run in runs.items()
        for scene, model in PersonalisedModels.load(run).own.items()
    }
    segments = {video: opened.locate(video)[1].segments for video in opened.train_videos}
    for scene, videos in held.items():
        assert sizes["us", scene] == 2 * sum(segments[v] for v in videos)
        assert sizes["ws", scene] == 2 * sum(segments[v] for v in videos if not v.endswith(("-1", "-4")))
    assert sizes["ws", "east"] == 0


def test_a_malicious_site_is_left_out_without_a_personalised_model(tmp_path, quick_train, dataset, monkeypatch):
    honest = CometSite._expect

    def lie(self: CometSite, payload: Message, state: State) -> Message:
        sums = honest(self, payload, state)
        return {k: np.asarray(v) * 1e6 for k, v in sums.items()} if self.data.participant == "north" else sums

    monkeypatch.setattr(CometSite, "_expect", lie)
    metrics = quick_train(dataset.path, tmp_path / "run", method="comet", rounds=2)
    assert metrics["frame_auc"] > 0.7
    assert PersonalisedModels.load(tmp_path / "run").own.keys() == set(SCENES) - {"north"}
