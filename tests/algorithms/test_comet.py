"""COMET: sums over sites are sums over everything, without noise EM itself, and what a site makes of them."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from comet_tools import (
    COMET,
    ROLES,
    auc,
    by_scene,
    homes_of,
    noise,
    run,
    store_of,
)
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from clap_vad.algorithms.comet_site import mixture_of
from clap_vad.core.density.gaussian_mixture import COMPONENTS, LEAST_VARIANCE, Mixture
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.models.mixture import MixtureModel, Remembered
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.errors import ClapError
from clap_vad.evaluation.scoring import score_test_videos
from clap_vad.features.roles import Roles
from clap_vad.federation.ask import State
from clap_vad.federation.left_out import left_out
from clap_vad.workflows.federate import Federation
from synthetic import comet_terms, make_dataset, make_plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


# The common density is that of all data together.


@pytest.mark.parametrize("roles", [Roles(), ROLES], ids=["all numbers", "with positions"])
def test_sites_together_find_the_density_of_one_that_holds_everything(tmp_path, dataset, roles):
    held = by_scene(dataset)
    _, apart, _ = run(tmp_path / "apart", dataset, held, roles=roles, rounds=4)
    _, whole, _ = run(tmp_path / "whole", dataset, {"all": [*itertools.chain(*held.values())]}, roles=roles, rounds=4)
    for name in ("normaliser.mean", "normaliser.scale"):
        np.testing.assert_allclose(apart[name], whole[name], rtol=1e-6)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(apart[f"mixture.{name}"], whole[f"mixture.{name}"], rtol=1e-5, atol=1e-6)
    # Scales and peaks are those of all where there are too few sites to leave out those at both ends.
    pairs = {"a": held["north"] + held["south"], "b": held["east"] + held["west"]}
    _, paired, _ = run(tmp_path / "paired", dataset, pairs, roles=roles, rounds=4)
    for name in ("counts.common", "counts.whole", "score_histogram"):
        one, other = paired[name], whole[name]
        assert abs(one.sum() - other.sum()) <= 1
        assert abs(np.cumsum(one - other)).max() <= 4000, name  # few on an edge of a bin, which count 1000 each
    lines = (tmp_path / "apart" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3, 4]


def test_the_model_finds_the_bursts(tmp_path, dataset):
    found = run(tmp_path, dataset, by_scene(dataset), rounds=5)
    assert auc(dataset, homes_of(*found)) > 0.9
    assert auc(dataset, PersonalisedModels(homes_of(*found).common)) > 0.9


def test_secure_aggregation_gives_nearly_the_same_model_and_the_same_auc(tmp_path, dataset):
    plain, secure = (
        run(tmp_path / str(hidden), dataset, by_scene(dataset), roles=ROLES, secure=hidden) for hidden in (False, True)
    )
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(secure[1][f"mixture.{name}"], plain[1][f"mixture.{name}"], rtol=1e-4, atol=1e-4)
    # Without masks the sites at both ends are not in the scales; under masks nobody sees them.
    together = {"all": [*itertools.chain(*by_scene(dataset).values())]}
    whole = run(tmp_path / "whole", dataset, together, roles=ROLES)
    for name in ("counts.common", "counts.whole", "score_histogram"):
        one, other = secure[1][name], whole[1][name]
        assert one.sum() == pytest.approx(other.sum(), rel=1e-3)
        assert abs(np.cumsum(one - other)).max() <= 0.01 * one.sum(), name
    assert int(secure[1]["clipped"]) == 0
    assert auc(dataset, homes_of(*secure)) == pytest.approx(auc(dataset, homes_of(*plain)), abs=1e-3)


def test_rounds_of_some_of_the_participants_come_to_a_model_too(tmp_path, dataset):
    federation, state, plan = run(tmp_path, dataset, by_scene(dataset), fraction=0.5, rounds=6)
    lines = [json.loads(line) for line in (tmp_path / "rounds.jsonl").read_text().splitlines()]
    assert [line["participants"] for line in lines] == [2] * 6
    assert mixture_of(state).sound()
    assert auc(dataset, homes_of(federation, state, plan)) > 0.85


def test_scales_and_peaks_are_those_of_the_sites_in_the_middle(tmp_path, dataset):
    """Without the site of the largest and the one of the smallest quantile: no one site sets them."""
    held = by_scene(dataset)
    federation, state, _ = run(tmp_path, dataset, held)
    said = {}
    for site in federation.sites():
        own = dict(site.state(int(state["sequence"])))
        program = federation.program(site.participant)
        said[site.participant] = np.round(program._peaks(own) * 1000)
    quantiles = {}
    for name, counts in said.items():
        below = np.cumsum(counts)
        quantiles[name] = int(np.searchsorted(below, 0.99 * below[-1]))
    order = sorted(quantiles, key=lambda name: (quantiles[name], list(held).index(name)))
    coarse = np.cumsum(state["score_histogram"][1536 : 1536 + 64 * 20].reshape(64, 20).sum(axis=1))
    common = int(np.searchsorted(coarse, 0.99 * coarse[-1]))
    assert quantiles[order[1]] <= common <= quantiles[order[2]]
    assert quantiles[order[0]] < quantiles[order[3]]  # else there would be nothing to see


# Without noise it is EM.


def plain_em(before: Mixture, rows: np.ndarray) -> Mixture:
    """One step by scipy's densities, with what is stated of regularisation; no line of the project's own EM."""
    logs = np.array(
        [
            np.log(w) + multivariate_normal(m, c).logpdf(rows)
            for w, m, c in zip(before.weights, before.means, before.covariances, strict=True)
        ]
    ).T
    r = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    mass, d = r.sum(axis=0), rows.shape[1]
    means, covariances = before.means.copy(), before.covariances.copy()
    for k in np.flatnonzero(mass > 5):  # the others stay where they are
        means[k] = r[:, k] @ rows / mass[k]
        scatter = (rows - means[k]).T @ ((rows - means[k]) * r[:, k : k + 1])
        # 5 rows of variance 0.1, and the least variance added.
        covariances[k] = (scatter + 5 * 0.1 * np.eye(d)) / (mass[k] + 5) + LEAST_VARIANCE * np.eye(d)
    return Mixture((mass + 1) / (mass + 1).sum(), means, covariances)


def standardised(dataset: Dataset, videos: Sequence[str], state: State) -> np.ndarray:
    rows = []
    for name in videos:
        store, entry = dataset.locate(name)
        rows.append(store.read(entry.start, entry.stop).reshape(-1, store.dim))
    found = (np.concatenate(rows) - state["normaliser.mean"]) * state["normaliser.scale"]
    return np.clip(found, -15, 15).astype(np.float64)


@pytest.mark.parametrize("secure", [False, True])
def test_without_noise_every_step_is_one_of_plain_em_on_all_rows_together(tmp_path, dataset, secure):
    held, states = by_scene(dataset), []
    plan = make_plan(participants=tuple(held), dim=6, rounds=8, privacy=comet_terms(8), secure=secure)

    def on_round(state: State) -> dict[str, Any]:
        states.append({name: np.array(value) for name, value in state.items() if name.startswith("mixture.")})
        return {}

    state = Federation(tmp_path, dataset, held, plan, COMET).run(on_round=on_round)
    rows = standardised(dataset, [*itertools.chain(*held.values())], state)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=0.02)
    likelihoods = []
    for before, after in itertools.pairwise(states[3:]):  # in the last half no component is moved
        expected, found = plain_em(mixture_of(before), rows), mixture_of(after)
        # A crop's responsibility below a ten-thousandth is left out, and what is very far out is shortened.
        for name in ("weights", "means", "covariances"):
            apart = np.abs(getattr(found, name) - getattr(expected, name))
            assert apart.max() <= 0.02 * np.abs(getattr(expected, name)).max(), name
        likelihoods.append(found.log_density(rows).mean())
        assert found.log_density(rows).mean() == pytest.approx(expected.log_density(rows).mean(), abs=0.005)
    assert likelihoods[-1] > multivariate_normal(rows.mean(axis=0), np.cov(rows.T)).logpdf(rows).mean() + 0.5


def test_default_noise_hardly_changes_the_density_of_many_regions(tmp_path):
    """Of 3 sites with 20,000 crops each; what is compared is how likely it makes crops that nobody has trained on."""

    def crowd(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        kinds = np.array([[0, 0, 0], [3, 1, 0], [-2, 2, 1], [0, -3, 2]])[rng.integers(0, 4, count)]
        return (kinds + 0.4 * rng.normal(size=(count, 3))).astype(np.float32)

    videos = {f"v{k}": (crowd(20_000, k).reshape(4000, 5, 3), None) for k in range(3)}
    made = store_of(tmp_path / "d", videos, list("abc"))
    held = {name: [name] for name in videos}
    likelihoods = {}
    for epsilon in (8.0, math.inf):
        _, state, _ = run(tmp_path / str(epsilon), made, held, epsilon=epsilon, rounds=12)
        rows = (crowd(5000, 99) - state["normaliser.mean"]) * state["normaliser.scale"]
        # Of the numbers themselves: their density is that of the standardised ones times the scale.
        likelihoods[epsilon] = mixture_of(state).log_density(rows).mean() + np.log(state["normaliser.scale"]).sum()
    truth = -3 * (np.log(0.4 * np.sqrt(2 * np.pi)) + 0.5) - np.log(4)
    assert truth - 0.15 < likelihoods[math.inf] < truth + 0.01
    assert likelihoods[8.0] > likelihoods[math.inf] - 0.15


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
    personalised, (store, entry) = homes_of(*found), made.locate("odd")
    personalised.save(tmp_path / "model")
    for model in (
        personalised.common,
        personalised.own["yard"],
        *PersonalisedModels.load(tmp_path / "model").own.values(),
    ):
        scores = model.score_videos(store, [entry], 1)[0]
        assert np.isfinite(scores).all() and len(scores) == entry.segments
    present = sum(valid.sum() for _, valid in [*others.values(), *odd.values()])
    # Each crop counts 1000 in both histograms together, whose norm is that of one.
    for name in ("common", "whole"):
        assert found[1][f"counts.{name}"].sum() == pytest.approx(1000 / math.sqrt(2) * present, abs=1)
    peopled = sum(valid.any(axis=1).sum() for _, valid in [*others.values(), *odd.values()])
    assert found[1]["score_histogram"].sum() == 1000 * peopled
    assert not left_out(found[1])


@pytest.mark.parametrize("crops", [4, 5, 6])
def test_a_personalised_model_has_a_memory_above_10_regions(tmp_path, crops):
    made = store_of(tmp_path / "d", {"v": (noise(2, crops), None)}, ["gate"])
    found = run(tmp_path / "run", made, {"p": ["v"]})
    model = homes_of(*found).own["gate"]
    assert isinstance(model, MixtureModel)
    assert any(isinstance(expert, Remembered) for expert in model.experts) == (2 * crops > 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_numbers_are_reported_with_file_video_and_segment(tmp_path, value):
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
    personalised = homes_of(*found)
    models = [model for model in (personalised.common, *personalised.own.values()) if isinstance(model, MixtureModel)]
    assert len(models) == 3
    for model in models:
        np.testing.assert_array_equal(model.projection.matrix, models[0].projection.matrix)
        x = noise(5, dim=2048)
        assert np.isfinite(model.score(x)).all()
        x[2] *= 3
        assert model.score(x)[2] > model.score(noise(5, dim=2048))[2]


def test_too_many_regions_are_sampled_reproducibly(tmp_path, monkeypatch):
    made = store_of(tmp_path / "d", {f"v{k}": (noise(60, seed=k), None) for k in range(3)}, list("aab"))
    whole = run(tmp_path / "whole", made, {"p": ["v0", "v1", "v2"]})
    monkeypatch.setattr("clap_vad.algorithms.comet_site._MOST_ROWS", 100)
    monkeypatch.setattr("clap_vad.algorithms.comet_site.most_remembered", lambda dim: 40)
    one, two = (run(tmp_path / name, made, {"p": ["v0", "v1", "v2"]}) for name in ("one", "two"))
    assert one[1].keys() == two[1].keys()
    for name, value in one[1].items():
        np.testing.assert_array_equal(value, two[1][name], err_msg=name)
    drawn, all_crops = (round(r[1]["counts.common"].sum() / 1000 * math.sqrt(2), 2) for r in (one, whole))
    assert 50 < drawn < 130 and all_crops == 360  # a quarter of them, each by itself
    remembered = homes_of(*one).own["a"].arrays()
    assert [len(a) for name, a in remembered.items() if name.endswith(".rows")] == [40]
    for name, value in homes_of(*two).own["a"].arrays().items():
        np.testing.assert_array_equal(value, remembered[name], err_msg=name)
    other = run(tmp_path / "other", made, {"p": ["v0", "v1", "v2"]}, seed=1)
    assert not np.array_equal(other[1]["normaliser.mean"], one[1]["normaliser.mean"])


# Homes.


def test_a_scene_of_two_sites_is_scored_by_the_common_model(tmp_path, dataset):
    held = by_scene(dataset)
    shared = {"one": [*held["north"], *held["south"][:2]], "two": [*held["east"], *held["south"][2:]]}
    found = run(tmp_path, dataset, shared)
    personalised = homes_of(*found)
    assert personalised.own.keys() == {"north", "east"}
    scores = score_test_videos(dataset, personalised, 1)
    common = score_test_videos(dataset, PersonalisedModels(personalised.common), 1)
    for video, found_scores in scores.items():
        own = video.startswith(("north", "east"))
        assert np.array_equal(found_scores, common[video]) != own


def test_a_personalised_model_uses_its_own_videos_only(tmp_path, dataset):
    """Whatever the common density and scale came to be."""
    federation, state, _ = run(tmp_path, dataset, by_scene(dataset))
    north = federation.personalised(state)["north"].arrays()
    rows = next(value for name, value in north.items() if name.endswith(".rows"))
    site = federation.program("north")
    store, own = site.data.store, []
    for entry in site.data.entries:
        own.append(store.read(entry.start, entry.stop).reshape(-1, 6))
    expected = (np.concatenate(own) - state["normaliser.mean"]) * state["normaliser.scale"]
    np.testing.assert_allclose(rows, np.clip(expected, -15, 15), rtol=1e-5, atol=1e-5)


def test_pseudo_labels_are_the_scores_of_the_personalised_models(tmp_path, dataset):
    federation, state, _ = run(tmp_path / "run", dataset, by_scene(dataset))
    site = federation.sites()[0]
    program = federation.program(site.participant)
    labels = program.pseudo_labels({}, site.state(int(state["sequence"])))
    personalised = federation.personalised(state)
    for entry, part in zip(program.data.entries, program.slices, strict=True):
        expected = personalised["north"].score_videos(program.data.store, [entry], 1)[0]
        np.testing.assert_array_equal(labels[part], expected)
