"""COMET: sums over sites are sums over everything, what a site makes of them, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import SCENES, make_dataset, make_plan

from clap_vad.algorithms.comet_site import CometSite, mixture_of
from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import Plan
from clap_vad.algorithms.site_data import site_data
from clap_vad.core.density import COMPONENTS, LEAST_VARIANCE, Mixture
from clap_vad.core.surprise import SURPRISE_BINS
from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.detector.homes import Homes
from clap_vad.detector.models.mixture import MixtureModel, Remembered
from clap_vad.errors import ClapError
from clap_vad.evaluation.scoring import score_test_videos
from clap_vad.features.roles import Roles
from clap_vad.features.writer import StoreWriter
from clap_vad.federation.ask import State
from clap_vad.workflows.federate import Federation

COMET = make_method("comet", {})
ROLES = Roles(behaviour=(0, 1, 2, 3, 4), position=(3, 4), followed=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


def by_scene(dataset: Dataset) -> dict[str, list[str]]:
    return {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}


def run(
    folder: Path, dataset: Dataset, held: Mapping[str, Sequence[str]], **changes: Any
) -> tuple[Federation, State, Plan]:
    plan = make_plan(participants=tuple(held), **{"dim": dataset.stores[0].dim, "rounds": 3, **changes})
    federation = Federation(folder, dataset, held, plan, COMET)
    return federation, federation.run(), plan


def homes_of(federation: Federation, state: State, plan: Plan) -> Homes:
    info = {"dim": plan.dim, "segment_frames": 16}
    return Homes(COMET.model(plan, state, info), federation.homes(state))


def auc(dataset: Dataset, homes: Homes) -> float:
    scores = score_test_videos(dataset, homes, 1)
    truth = [dataset.frame_labels(video)[::16] for video in scores]
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(list(scores.values()))))


def store_of(path: Path, videos: Mapping[str, tuple[np.ndarray, np.ndarray | None]], scenes: Sequence[str]) -> Dataset:
    """A dataset of these training videos."""
    first, mask = next(iter(videos.values()))
    _, crops, dim = first.shape
    settings: dict[str, Any] = {"extractor": "synthetic", "settings": {}, "crops": crops, "dim": dim}
    with StoreWriter(path / "store", with_valid=mask is not None, **settings) as writer:
        for name, (x, valid) in videos.items():
            writer.append(name, [x if valid is None else (x, valid)], frames=len(x) * 16, fps=25.0)
        writer.finish()
    write_videos_csv(path / "videos.csv", [VideoRecord(v, "train", s) for v, s in zip(videos, scenes, strict=True)])
    return Dataset(path)


def noise(T: int, C: int = 2, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, C, dim)).astype(np.float32)


# The common density is that of all data together.


@pytest.mark.parametrize("roles", [Roles(), ROLES], ids=["all numbers", "with positions"])
def test_sites_together_find_the_density_of_one_that_holds_everything(tmp_path, monkeypatch, dataset, roles):
    """But for components that hold few crops of a site, which it does not speak of: here it does."""
    monkeypatch.setattr("clap_vad.algorithms.comet_site._LEAST_MASS", 0.0)
    held = by_scene(dataset)
    together = {"all": [video for scene in SCENES for video in held[scene]]}
    _, apart, _ = run(tmp_path / "apart", dataset, held, roles=roles, rounds=4)
    _, whole, _ = run(tmp_path / "whole", dataset, together, roles=roles, rounds=4)
    for name in ("normaliser.mean", "normaliser.scale"):
        np.testing.assert_allclose(apart[name], whole[name], rtol=1e-6)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(apart[f"mixture.{name}"], whole[f"mixture.{name}"], rtol=1e-5, atol=1e-6)
    assert abs(apart["counts.common"] - whole["counts.common"]).sum() <= 4  # on an edge of a bin
    logs = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "rounds.jsonl").read_text().splitlines()]
        for name in ("apart", "whole")
    ]
    np.testing.assert_allclose(*logs, rtol=1e-6)
    assert len(logs[0]) == 4 and logs[0][-1] < logs[0][0]


def test_the_model_finds_the_bursts(tmp_path, dataset):
    found = run(tmp_path, dataset, by_scene(dataset), rounds=5)
    assert auc(dataset, homes_of(*found)) > 0.9
    assert auc(dataset, Homes(homes_of(*found).common)) > 0.9


def test_secure_aggregation_gives_nearly_the_same_model_and_the_same_auc(tmp_path, dataset):
    plain, secure = (
        run(tmp_path / str(hidden), dataset, by_scene(dataset), roles=ROLES, secure=hidden) for hidden in (False, True)
    )
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(secure[1][f"mixture.{name}"], plain[1][f"mixture.{name}"], rtol=1e-4, atol=1e-4)
    for name in ("common", "whole", "placeless", "memory"):
        one, other = secure[1][f"counts.{name}"], plain[1][f"counts.{name}"]
        assert one.sum() == other.sum()
        assert abs(np.cumsum(one - other)).max() <= 0.01 * one.sum()
    assert int(secure[1]["clipped"]) == 0
    assert auc(dataset, homes_of(*secure)) == pytest.approx(auc(dataset, homes_of(*plain)), abs=1e-3)


def test_rounds_of_some_of_the_participants_come_to_a_model_too(tmp_path, dataset):
    federation, state, plan = run(tmp_path, dataset, by_scene(dataset), fraction=0.5, rounds=6)
    lines = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert [line["participants"] for line in lines] == [2] * 6
    assert mixture_of(state).sound()
    assert auc(dataset, homes_of(federation, state, plan)) > 0.85


# What leaves.


def test_a_site_speaks_of_no_component_that_holds_fewer_than_5_of_its_crops(tmp_path, dataset):
    site, state = ready(dataset, by_scene(dataset)["north"])
    rows = state["rows"]
    spread = Mixture(
        np.full(COMPONENTS, 1 / COMPONENTS), np.resize(rows[:40], (COMPONENTS, 6)).astype(np.float64),
        np.tile(np.eye(6) * LEAST_VARIANCE, (COMPONENTS, 1, 1)),
    )  # fmt: skip
    reply = site.steps["expect"][0](question(spread), state)
    mass = np.asarray(reply["mass"])
    assert ((mass == 0) | (mass >= 5)).all() and (mass == 0).any()
    assert not reply["sum"][mass == 0].any() and not reply["outer"][mass == 0].any()
    assert reply["count"] == len(rows)


def ready(dataset: Dataset, videos: Sequence[str], roles: Roles | None = None) -> tuple[CometSite, dict]:
    """A site that knows the constants; they are its own."""
    plan = make_plan(dim=dataset.stores[0].dim, roles=roles or Roles())
    site, state = CometSite(plan, site_data(dataset, "p", videos)), {}
    moments = site.steps["moments"][0]({}, state)
    mean = np.asarray(moments["sum"]) / moments["count"]
    std = np.sqrt(np.asarray(moments["sumsq"]) / moments["count"] - mean**2)
    payload = {"mean": mean.astype(np.float32), "scale": (1 / np.maximum(std, 1e-6)).astype(np.float32)}
    assert site.steps["normalise"][0](payload, state) == {"count": len(state["rows"])}
    return site, state


def question(mixture: Mixture) -> dict[str, np.ndarray]:
    return {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}


def usual(d: int = 6) -> Mixture:
    rng = np.random.default_rng(0)
    weights = np.full(COMPONENTS, 1 / COMPONENTS)
    return Mixture(weights, rng.normal(size=(COMPONENTS, d)), np.tile(np.eye(d), (COMPONENTS, 1, 1)))


IMPOSSIBLE = {
    "very narrow": {"covariances": np.tile(np.eye(6) * 1e-4, (COMPONENTS, 1, 1))},
    "narrow in one direction": {"covariances": np.tile(np.diag([1.0] * 5 + [1e-3]), (COMPONENTS, 1, 1))},
    "a hair too narrow": {"covariances": np.tile(np.eye(6) * LEAST_VARIANCE * 0.999, (COMPONENTS, 1, 1))},
    "negative": {"covariances": np.tile(-np.eye(6), (COMPONENTS, 1, 1))},
    "NaN": {"means": np.full((COMPONENTS, 6), np.nan)},
    "absurdly far": {"means": np.full((COMPONENTS, 6), 1e200)},
    "weights of 2": {"weights": np.full(COMPONENTS, 2 / COMPONENTS)},
    "other features": vars(usual(5)),
    "half as many components": {
        "weights": np.full(32, 1 / 32), "means": np.zeros((32, 6)), "covariances": np.tile(np.eye(6), (32, 1, 1))
    },
    "one dimension": {"means": np.zeros(6)},
}  # fmt: skip


@pytest.mark.parametrize("step", ["expect", "settle"])
@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_a_density_that_is_impossible_or_would_single_crops_out_is_refused(dataset, step, changes):
    site, state = ready(dataset, by_scene(dataset)["north"])
    before = dict(state)
    with pytest.raises(ClapError, match="participant 'p': the density sent to it is impossible"):
        site.steps[step][0]({**question(usual()), **changes}, state)
    assert state == before or state.keys() == before.keys()
    site.steps[step][0](question(usual()), state)


@pytest.mark.parametrize("dim", [5, 7, 0])
def test_constants_for_other_features_are_refused(dataset, dim):
    site, state = ready(dataset, by_scene(dataset)["north"])
    payload = {"mean": np.zeros(dim, np.float32), "scale": np.ones(dim, np.float32)}
    with pytest.raises(ClapError, match="the constants sent to it are not for its features"):
        site.steps["normalise"][0](payload, state)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_constants_that_are_no_numbers_are_refused_and_not_blamed_on_a_video(dataset, value):
    site, state = ready(dataset, by_scene(dataset)["north"])
    for name in ("mean", "scale"):
        payload = {"mean": np.zeros(6, np.float32), "scale": np.ones(6, np.float32)}
        payload[name][2] = value
        with pytest.raises(ClapError, match="the constants sent to it"):
            site.steps["normalise"][0](payload, state)


@pytest.mark.parametrize(
    "counts", [np.zeros(9, np.int64), -np.ones(SURPRISE_BINS, np.int64), np.full(SURPRISE_BINS, 0.5)]
)
def test_a_scale_that_is_none_is_refused(dataset, counts):
    site, state = ready(dataset, by_scene(dataset)["north"])
    good = site.steps["settle"][0](question(usual()), state)
    payload = {f"counts.{name}": value for name, value in good.items()}
    with pytest.raises(ClapError, match="participant 'p': a scale"):
        site.steps["calibrate"][0]({**payload, "counts.whole": counts}, dict(state))
    assert site.steps["calibrate"][0](payload, state)["counts"].sum() == sum(e.segments for e in site.data.entries)


# Odd sites.


def lonely(T: int = 30, C: int = 3) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    present = np.random.default_rng(0).random((T, C)) < 0.6
    return {f"v{k}": (noise(T, C, seed=k), present) for k in range(3)}


ODD: dict[str, dict[str, tuple[np.ndarray, np.ndarray | None]]] = {
    "one segment": {"odd": (noise(1), np.ones((1, 2), bool))},
    "one segment without a crop": {"odd": (noise(1), np.zeros((1, 2), bool))},
    "no crop present": {"odd": (noise(30), np.zeros((30, 2), bool))},
    "all crops equal": {"odd": (np.ones((30, 2, 6), np.float32), np.ones((30, 2), bool))},
    "one number constant": {"odd": (noise(30) * np.array([1, 1, 1, 1, 0, 1], np.float32), np.ones((30, 2), bool))},
    "as many crops as it takes not to remember": {"odd": (noise(5), np.ones((5, 2), bool))},
    "far from all others": {"odd": (noise(30) * 1e4 + 1e6, np.ones((30, 2), bool))},
    "pixels": {"odd": (noise(30) * 300 + 500, np.ones((30, 2), bool))},
}


@pytest.mark.parametrize(
    ("company", "roles"), [(True, ROLES), (False, Roles())], ids=["beside others, with positions", "alone"]
)
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_an_odd_site_has_a_model_that_scores(tmp_path, odd, roles, company):
    others = {f"usual-{k}": (noise(30, seed=k + 1), np.ones((30, 2), bool)) for k in range(3)} if company else {}
    made = store_of(tmp_path / "d", {**others, **odd}, [*(["gate"] * len(others)), "yard"])
    held = {"others": list(others), "odd": ["odd"]} if company else {"odd": ["odd"]}
    found = run(tmp_path / "run", made, held, roles=roles, rounds=1)
    homes, (store, entry) = homes_of(*found), made.locate("odd")
    homes.save(tmp_path / "model")
    for model in (homes.common, homes.own["yard"], *Homes.load(tmp_path / "model").own.values()):
        scores = model.score_videos(store, [entry], 1)[0]
        assert np.isfinite(scores).all() and len(scores) == entry.segments
    present = sum(valid.sum() for _, valid in [*others.values(), *odd.values()])
    assert found[1]["counts.common"].sum() == present
    assert found[1]["score_histogram"].sum() == sum(len(x) for x, _ in [*others.values(), *odd.values()])


@pytest.mark.parametrize("crops", [4, 5, 6])
def test_a_home_remembers_once_it_holds_more_than_10_crops(tmp_path, crops):
    made = store_of(tmp_path / "d", {"v": (noise(2, crops), None)}, ["gate"])
    found = run(tmp_path / "run", made, {"p": ["v"]})
    model = homes_of(*found).own["gate"]
    assert isinstance(model, MixtureModel)
    assert any(isinstance(expert, Remembered) for expert in model.experts) == (2 * crops > 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_told_with_file_video_and_segment(tmp_path, value):
    made = store_of(tmp_path / "d", lonely(), ["gate"] * 3)
    features = np.load(made.path / "store" / "features.npy", mmap_mode="r+")
    valid = np.load(made.path / "store" / "valid.npy")
    absent, present = (int(np.flatnonzero(valid[30:60, 0] == there)[3]) for there in (False, True))
    features[30 + absent, 0, 2] = value
    features.flush()
    run(tmp_path / "run", Dataset(made.path), {"p": ["v0", "v1", "v2"]})  # of a crop that is not there
    features[30 + present, 0, 2] = value
    features.flush()
    with pytest.raises(ClapError, match=f"features.npy: video 'v1', segment {present}: a feature is NaN"):
        run(tmp_path / "again", Dataset(made.path), {"p": ["v0", "v1", "v2"]})


def test_wide_features_are_projected_alike_at_all_sites_and_in_the_model(tmp_path):
    made = store_of(tmp_path / "d", {f"v{k}": (noise(20, dim=2048, seed=k), None) for k in range(4)}, list("aabb"))
    found = run(tmp_path / "run", made, {"a": ["v0", "v1"], "b": ["v2", "v3"]}, rounds=2)
    assert found[1]["mixture.means"].shape == (COMPONENTS, 32)
    homes = homes_of(*found)
    models = [model for model in (homes.common, *homes.own.values()) if isinstance(model, MixtureModel)]
    assert len(models) == 3
    for model in models:
        np.testing.assert_array_equal(model.behaviour.projection, models[0].behaviour.projection)
        x = noise(5, dim=2048)
        assert np.isfinite(model.score(x)).all()
        x[2] *= 3
        assert model.score(x)[2] > model.score(noise(5, dim=2048))[2]


def test_of_more_crops_than_a_site_works_on_a_sample_is_drawn_and_the_same_again(tmp_path, monkeypatch):
    made = store_of(tmp_path / "d", {f"v{k}": (noise(60, seed=k), None) for k in range(3)}, list("aab"))
    whole = run(tmp_path / "whole", made, {"p": ["v0", "v1", "v2"]})
    monkeypatch.setattr("clap_vad.algorithms.comet_site._MOST_ROWS", 100)
    monkeypatch.setattr("clap_vad.algorithms.comet_site.most_remembered", lambda dim: 40)
    one, two = (run(tmp_path / name, made, {"p": ["v0", "v1", "v2"]}) for name in ("one", "two"))
    assert one[1].keys() == two[1].keys()
    for name, value in one[1].items():
        np.testing.assert_array_equal(value, two[1][name], err_msg=name)
    assert one[1]["counts.common"].sum() == 100 and whole[1]["counts.common"].sum() == 360
    remembered = homes_of(*one).own["a"].arrays()
    assert [len(a) for name, a in remembered.items() if name.endswith(".rows")] == [40]
    for name, value in homes_of(*two).own["a"].arrays().items():
        np.testing.assert_array_equal(value, remembered[name], err_msg=name)
    other = run(tmp_path / "other", made, {"p": ["v0", "v1", "v2"]}, seed=1)
    assert not np.array_equal(other[1]["normaliser.mean"], one[1]["normaliser.mean"])


# Homes.


def test_a_scene_of_two_sites_is_nobodys_home_and_judged_by_the_common_model(tmp_path, dataset):
    held = by_scene(dataset)
    shared = {"one": [*held["north"], *held["south"][:2]], "two": [*held["east"], *held["south"][2:]]}
    found = run(tmp_path, dataset, shared)
    homes = homes_of(*found)
    assert homes.own.keys() == {"north", "east"}
    scores = score_test_videos(dataset, homes, 1)
    common = score_test_videos(dataset, Homes(homes.common), 1)
    for video, found_scores in scores.items():
        own = video.startswith(("north", "east"))
        assert np.array_equal(found_scores, common[video]) != own


def test_a_home_is_made_of_its_own_videos_alone(tmp_path, dataset):
    """Whatever the common density and scale came to be."""
    federation, state, _ = run(tmp_path, dataset, by_scene(dataset))
    north = federation.homes(state)["north"].arrays()
    rows = next(value for name, value in north.items() if name.endswith(".rows"))
    site = federation.program("north")
    store, own = site.data.store, []
    for entry in site.data.entries:
        own.append(store.read(entry.start, entry.stop).reshape(-1, 6))
    expected = (np.concatenate(own) - state["normaliser.mean"]) * state["normaliser.scale"]
    np.testing.assert_allclose(rows, np.clip(expected, -15, 15), rtol=1e-5, atol=1e-5)


def test_pseudo_labels_are_the_scores_by_the_sites_own_homes(tmp_path, dataset):
    federation, state, _ = run(tmp_path / "run", dataset, by_scene(dataset))
    site = federation.sites()[0]
    program = federation.program(site.participant)
    labels = program.pseudo_labels({}, site.state(int(state["sequence"])))
    homes = federation.homes(state)
    for entry, part in zip(program.data.entries, program.slices, strict=True):
        expected = homes["north"].score_videos(program.data.store, [entry], 1)[0]
        np.testing.assert_array_equal(labels[part], expected)
