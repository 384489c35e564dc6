"""GCL in rounds: who pre-trains on what, when the detector begins to label, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms import gcl
from clap_vad.algorithms.method import make_method
from clap_vad.core.statistics.randomness import keyed_generator
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.autoencoder import initial_generator
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.label import label
from clap_vad.workflows.train import train
from synthetic import make_dataset, make_plan

QUICK = {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 1, "lr": 1e-3}
SITES = ("north", "south")

pytestmark = pytest.mark.usefixtures("small_generator")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, test=False))


def run(dataset: Dataset, folder: Path, rounds: int = 1, labelled=(), **options) -> dict[str, np.ndarray]:
    """The final model of a federation of two."""
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in SITES}
    method = make_method("gcl", {**QUICK, **options})
    state = Federation(folder, dataset, held, make_plan(rounds=rounds), method, labelled).run()
    return {name.removeprefix("weights."): value for name, value in state.items() if name.startswith("weights.")}


def messages(folder: Path, site: str = "north") -> list[str]:
    return [json.loads(line)["step"] for line in (folder / "sites" / site / "ledger.jsonl").read_text().splitlines()]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one)


def changes_of(dataset: Dataset, videos: list[str]) -> list[float]:
    found = []
    for video in videos:
        store, entry = dataset.locate(video)
        means = store.features[entry.start : entry.stop].astype(np.float64).mean(axis=1)
        steps = [float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(means)]
        found += [*steps, steps[-1]]
    return found


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_pre_training_visits_the_calmest_share_alone(dataset, tmp_path, monkeypatch, share):
    visited, real = [], gcl.generator_training

    def noting(weights, source, segments, *rest):
        visited.append(sorted(segments.tolist()))
        return real(weights, source, segments, *rest)

    monkeypatch.setattr(gcl, "generator_training", noting)
    run(dataset, tmp_path, pretrain_share=share)
    for site, segments in zip(SITES, visited, strict=True):
        changes = changes_of(dataset, [v for v in dataset.train_videos if v.startswith(site)])
        ranked = sorted(range(len(changes)), key=lambda i: changes[i])
        last = changes[ranked[math.floor(share * (len(changes) - 1))]]
        assert segments == [i for i, change in enumerate(changes) if change <= last + 1e-5]
        assert share * len(changes) - 1 <= len(segments) <= share * len(changes) + 2


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_as_many_pre_training_messages_as_rounds_of_it(dataset, tmp_path, rounds):
    run(dataset, tmp_path, pretrain_rounds=rounds)
    for site in SITES:
        assert messages(tmp_path, site) == ["label", *["pretrain"] * rounds, "train", "calibrate"]


def test_pre_training_moves_the_generator_alone_by_the_weighted_mean(dataset, tmp_path, monkeypatch):
    """One round of it, no cooperation: FedAvg of what each site's generator learned, weighted by calm segments."""
    counts, updates, real = [], [], gcl.generator_training

    def noting(weights, source, segments, *rest):
        result = real(weights, source, segments, *rest)
        counts.append(len(segments))
        updates.append({name: result.weights[name] - weights[name] for name in weights})
        return result

    monkeypatch.setattr(gcl, "generator_training", noting)
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in SITES}
    held["south"] = held["south"][:1]
    state = Federation(tmp_path, dataset, held, make_plan(rounds=0), make_method("gcl", QUICK)).run()
    assert counts[0] > 2 * counts[1]
    for name, value in initial_generator(16, 0).items():
        expected = value + (counts[0] * updates[0][name] + counts[1] * updates[1][name]) / sum(counts)
        np.testing.assert_allclose(state[f"weights.{name}"], expected, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(state[f"weights.{name}"], value)
    for name, value in initial_weights(16, 0).items():
        np.testing.assert_array_equal(state[f"weights.{name}"], value)


def test_the_detector_labels_for_the_generator_from_the_round_that_is_named(dataset, tmp_path):
    """Before it, how the generator would treat anomalies makes no difference; after it, it does."""
    ends = {}
    for first in (2, 3):
        for negative in ("on", "off"):
            folder = tmp_path / f"{first}-{negative}"
            ends[first, negative] = run(
                dataset, folder, rounds=2, negative_from=first, negative_learning=negative, pretrain_rounds=0
            )
    assert same(ends[3, "on"], ends[3, "off"])
    assert not same(ends[2, "on"], ends[2, "off"])
    assert not same(ends[2, "on"], ends[3, "on"])
    detectors = [{name: end[name] for name in initial_weights(16, 0)} for end in ends.values()]
    assert all(same(detectors[0], other) for other in detectors[1:])  # the detector hears of it a round later


def test_thresholds_reach_the_sites(dataset, tmp_path):
    plain = run(dataset, tmp_path / "a", negative_from=1)
    assert not same(plain, run(dataset, tmp_path / "b", negative_from=1, generator_threshold=-0.5))
    assert not same(plain, run(dataset, tmp_path / "c", negative_from=1, detector_threshold=1.0))


def test_known_labels_change_what_is_learned(dataset, tmp_path):
    options = {"generator_threshold": -0.5}  # so low that segments of normal videos lie above it
    unsupervised = run(dataset, tmp_path / "us", **options)
    assert not same(unsupervised, run(dataset, tmp_path / "ws", labelled=dataset.train_videos, **options))


@pytest.mark.parametrize("supervision", ["us", "ws"])
def test_the_label_command_shows_what_the_generator_finds_in_one_batch(dataset, tmp_path, supervision):
    """Local, without pre-training: errors of the initial generator above mean + 1 std, by a loop."""
    label(dataset.path, tmp_path / "y.npz", method="gcl", setting="local", supervision=supervision, pretrain_rounds=0)
    w = initial_generator(16, 0)
    with np.load(tmp_path / "y.npz") as ours:
        for scene in ("north", "south", "east", "west"):
            errors = {}
            for video in (v for v in dataset.train_videos if v.startswith(scene)):
                store, entry = dataset.locate(video)
                x = store.features[entry.start : entry.stop].astype(np.float64).mean(axis=1)
                h = x
                for layer in range(1, 7):
                    h = h @ w[f"generator.layer{layer}.weight"].T.astype(np.float64)
                    h = h if layer == 6 else np.maximum(h, 0)
                errors[video] = ((h - x) ** 2).mean(axis=1)
            together = np.concatenate(list(errors.values()))
            limit = together.mean() + together.std()
            assert (together > limit).any()
            for video, error in errors.items():
                known_normal = supervision == "ws" and dataset.videos[video].label == 0
                np.testing.assert_array_equal(ours[video], (error > limit) & (not known_normal))


def test_normal_videos_are_spared_even_where_they_look_worst(dataset, tmp_path):
    """All labelled normal: no segment is."""
    videos = (dataset.path / "videos.csv").read_text()
    other = tmp_path / "all normal"
    other.mkdir()
    (other / "store").symlink_to(dataset.path / "store")
    (other / "videos.csv").write_text(videos.replace(",1\n", ",0\n"))
    options = {"method": "gcl", "setting": "centralized", "pretrain_rounds": 0}
    assert label(other, tmp_path / "us.npz", **options)["labelled_segments"] > 0
    assert label(other, tmp_path / "ws.npz", supervision="ws", **options)["labelled_segments"] == 0


def test_sites_train_with_the_generator_of_their_round(dataset, tmp_path, monkeypatch):
    """Training and pre-training draw from streams of their own, keyed by round and participant."""
    drawn = []

    def noting(real):
        def training(*arguments):
            (rng,) = [a for a in arguments if isinstance(a, np.random.Generator)]
            drawn.append(rng.bit_generator.state["state"]["state"].tolist())
            return real(*arguments)

        return training

    for name in ("generator_training", "cooperative_training"):
        monkeypatch.setattr(gcl, name, noting(getattr(gcl, name)))
    run(dataset, tmp_path, rounds=2)
    keys = [(number, site, "pretraining") for number in (1,) for site in SITES]
    keys += [(number, site, "training") for number in (1, 2) for site in SITES]
    expected = [keyed_generator(0, *key).bit_generator.state["state"]["state"].tolist() for key in keys]
    assert drawn == expected


def test_scaffold_and_nesterov_are_refused(dataset, tmp_path):
    with pytest.raises(ClapError, match=r"--strategy scaffold needs sites that train by SGD, but method 'gcl'"):
        train(dataset.path, tmp_path / "run", method="gcl", strategy="scaffold")
    with pytest.raises(ClapError, match=r"--nesterov on: gcl trains with RMSprop, which has no Nesterov momentum"):
        train(dataset.path, tmp_path / "run", method="gcl", nesterov="on")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"pretrain_rounds": -1}, {"pretrain_share": 0.0}, {"pretrain_share": 1.1}])
def test_settings_out_of_range_are_named(options):
    with pytest.raises(ClapError, match="--pretrain-rounds must be at least 0, --pretrain-share above 0"):
        make_method("gcl", options)
