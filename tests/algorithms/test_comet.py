"""COMET: sums over sites are sums over everything, what a site makes of them, and what it refuses."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupted import run_with_stops
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from synthetic import SCENES, comet_terms, make_dataset, make_plan

from clap_vad.algorithms.comet_site import CometSite, mixture_of
from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import Plan
from clap_vad.algorithms.site_data import site_data
from clap_vad.core.density import COMPONENTS, LEAST_VARIANCE, Mixture
from clap_vad.core.surprise import SURPRISE_BINS, value_histogram
from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.detector.homes import Homes
from clap_vad.detector.models.mixture import MixtureModel, Remembered
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.evaluation.scoring import score_test_videos
from clap_vad.features.roles import Roles
from clap_vad.features.writer import StoreWriter
from clap_vad.federation.ask import Ask, Reply, State
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check, Quorum
from clap_vad.federation.left_out import left_out
from clap_vad.federation.messages import Message
from clap_vad.federation.policy import RefusalError
from clap_vad.federation.privacy import KEY
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation

COMET = make_method("comet", {})
ROLES = Roles(behaviour=(0, 1, 2, 3, 4), position=(3, 4), followed=True)
PLACED = Roles(position=(3, 4), followed=True)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


def by_scene(dataset: Dataset) -> dict[str, list[str]]:
    return {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}


def run(
    folder: Path, dataset: Dataset, held: Mapping[str, Sequence[str]], **changes: Any
) -> tuple[Federation, State, Plan]:
    given = {"dim": dataset.stores[0].dim, "rounds": 3, **changes}
    terms = {name: given.pop(name) for name in ("epsilon", "unit") if name in given}
    plan = make_plan(participants=tuple(held), privacy=comet_terms(given["rounds"], **terms), **given)
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
    assert auc(dataset, Homes(homes_of(*found).common)) > 0.9


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
    federation, state, plan = run(tmp_path, dataset, held)
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
    expected = said[order[1]] + said[order[2]]
    coarse = state["score_histogram"][1536 : 1536 + 64 * 20].reshape(64, 20).sum(axis=1)
    np.testing.assert_allclose(coarse, expected, atol=1)
    assert plan.privacy is not None


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


def test_the_noise_of_the_default_hardly_moves_the_density_of_many_crops(tmp_path):
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


def test_a_masked_sum_that_cannot_be_true_ends_with_a_sentence(tmp_path, monkeypatch, dataset):
    """Nobody can be named; a round is passed over."""
    held, honest, bad = by_scene(dataset), CometSite._expect, [2]

    def lie(self: CometSite, payload: Message, state: State) -> Message:
        much = int(payload["round"]) in bad and self.data.participant == "south"
        return {name: np.asarray(value) * (50 if much else 1) for name, value in honest(self, payload, state).items()}

    monkeypatch.setattr(CometSite, "_expect", lie)
    _, state, _ = run(tmp_path / "a round", dataset, held, secure=True)
    assert mixture_of(state).possible() and not left_out(state)
    bad[:] = [0]
    with pytest.raises(ClapError, match="cannot be true") as error:
        run(tmp_path / "the start", dataset, held, secure=True)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("unit", ["crop", "video"])
@pytest.mark.parametrize("secure", [False, True], ids=["bare", "masked"])
def test_an_honest_site_is_not_taken_for_a_liar_however_much_it_holds(tmp_path, unit, secure):
    """One far larger than the others, one with hardly a crop, one in whose pictures there is mostly nobody."""
    seldom = np.zeros((400, 3), bool)
    seldom[::40, 0] = True
    videos = {f"usual-{k}": (noise(20, 3, seed=k), np.ones((20, 3), bool)) for k in range(12)}
    videos |= {f"large-{k}": (noise(150, 3, seed=k + 50), np.ones((150, 3), bool)) for k in range(60)}
    videos |= {"night": (noise(400, 3, seed=200), seldom), "tiny": (noise(1, 3), np.array([[True, False, False]]))}
    made = store_of(tmp_path / "d", videos, [name.split("-")[0] for name in videos])
    held = {f"u{n}": [f"usual-{k}" for k in range(3 * n, 3 * n + 3)] for n in range(4)}
    held |= {"large": [f"large-{k}" for k in range(60)], "night": ["night"], "tiny": ["tiny"]}
    for epsilon in (math.inf, 8.0):
        _, state, _ = run(tmp_path / str(epsilon), made, held, unit=unit, epsilon=epsilon, secure=secure, rounds=2)
        assert not left_out(state)


class Away(InProcessEngine):
    """In which one site is not there while some steps are asked."""

    def __init__(self, sites: Sequence[Site], missing: str, steps: Sequence[str]) -> None:
        super().__init__(sites)
        self._missing, self._steps = missing, steps

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        there = ask.targets or self.participants
        if ask.step in self._steps and not ask.silent:
            there = tuple(name for name in there if name != self._missing)
        return super().deliver(replace(ask, targets=there), check)


@pytest.mark.parametrize("steps", [["sizes"], ["sizes", "moments", "normalise"], ["settle"]])
@pytest.mark.parametrize("epsilon", [8.0, math.inf])
def test_a_site_that_was_away_for_a_while_is_no_liar(tmp_path, dataset, steps, epsilon):
    """What it missed it is asked again, without an answer; it counts from then on."""
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2, epsilon=epsilon))
    federation = Federation(tmp_path, dataset, held, plan, COMET)
    engine, answered = Away(federation.sites(), "south", steps), []
    made = partial(COMET.coordinate, plan, log=lambda record: answered.append(record["participants"]))
    state = coordinate(made, engine, Checkpoint(tmp_path / "checkpoints"), plan.dim, Quorum(sites=3))
    assert not left_out(state)
    assert answered == [4, 4]
    assert federation.homes(state).keys() == set(SCENES)


# Killed and resumed.


@pytest.mark.parametrize("secure", [False, True], ids=["bare", "masked"])
@pytest.mark.parametrize(("unit", "epsilon"), [("crop", 8.0), ("crop", math.inf), ("video", 8.0)])
def test_killed_again_and_again_it_ends_with_the_same_models(tmp_path, dataset, unit, epsilon, secure):
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2, epsilon=epsilon, unit=unit), secure=secure)
    made = [Federation(tmp_path / name, dataset, held, plan, COMET) for name in ("once", "killed")]
    once = made[0].run()
    killed, stops = run_with_stops(made[1], replies=len(held) * (4 if secure else 1) + 1)
    assert stops >= 7
    hashes = [
        homes_of(federation, state, plan).save(tmp_path / f"model {number}")
        for number, (federation, state) in enumerate(zip(made, (once, killed), strict=True))
    ]
    assert hashes[0] == hashes[1]
    files = [sorted((tmp_path / f"model {number}").rglob("*.*")) for number in (0, 1)]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]
    assert len(files[0]) == 2 * (1 + len(held)) + 1  # one model each, and which is whose


# How far one unit moves what leaves.

QUESTION = {KEY: np.zeros(32, np.uint8)}


def usual(d: int = 6) -> Mixture:
    rng = np.random.default_rng(0)
    weights = np.full(COMPONENTS, 1 / COMPONENTS)
    return Mixture(weights, rng.normal(size=(COMPONENTS, d)), np.tile(np.eye(d), (COMPONENTS, 1, 1)))


def slabs() -> Mixture:
    """As thin and as close as a site takes them: what tells most of single crops."""
    means = np.zeros((COMPONENTS, 6))
    means[:, 0] = np.linspace(-15, 15, COMPONENTS)
    thin = np.diag([LEAST_VARIANCE] + [225.0] * 5)
    return Mixture(np.full(COMPONENTS, 1 / COMPONENTS), means, np.tile(thin, (COMPONENTS, 1, 1)))


LIES = {
    "usual": usual(),
    "slabs": slabs(),
    "ten in one place": Mixture(
        (np.arange(COMPONENTS) < 10) / 10, np.zeros((COMPONENTS, 6)), np.tile(np.eye(6), (COMPONENTS, 1, 1))
    ),
    "one in a far corner": Mixture(
        np.eye(COMPONENTS)[9], np.full((COMPONENTS, 6), 15.0), np.tile(np.eye(6) * LEAST_VARIANCE, (COMPONENTS, 1, 1))
    ),
}
CONTENTS = {
    "usual": np.random.default_rng(5).normal(size=6),
    "nothing": np.zeros(6),
    "constant": np.full(6, 7.0),
    "large": np.full(6, 1e9),
    "the largest": np.array([3e38, -3e38, 0, 3e38, 1e-38, -1e-45]),
    "one number": np.array([1e6, 0, 0, 0, 0, 0]),
}


def question(mixture: Mixture) -> dict[str, np.ndarray]:
    return {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}


def private_plan(unit: str = "crop", epsilon: float = 8.0, roles: Roles | None = None, **changes: Any) -> Plan:
    return make_plan(
        dim=6, rounds=1, roles=roles or Roles(), privacy=comet_terms(1, epsilon=epsilon, unit=unit), **changes
    )


def site_of(made: Dataset, videos: Sequence[str], plan: Plan) -> CometSite:
    return CometSite(plan, site_data(made, "p", videos))


CONSTANTS = {
    "sizes": np.array([0.5, 1.0, 2.0, 1.0, 1e-3, 1.0]),
    "most": 3.0,
    "mean": np.linspace(-1, 1, 6).astype(np.float32),
    "scale": np.array([1, 1, 0.5, 2, 100, 0], np.float32),
}


def told(site: CometSite, asked: Mixture, state: State, cap: float = 1e12) -> dict[str, np.ndarray]:
    """All that leaves it before noise, one vector a step; the state holds what it counted, as far as it was."""
    said, own = {}, dict(state)
    found = site.steps["sizes"][0](QUESTION, own)
    counts = [own["units"]] if site.plan.privacy.unit == "crop" else [own["units"], own["crops"] / 2048]
    said["sizes"] = np.concatenate([np.array(counts) * 0.4 / math.sqrt(len(counts)), np.ravel(found["bins"])])
    # What it counted has noise, and is a part of the first release: from then on it is known.
    own |= {name: state.setdefault(name, own[name]) for name in ("units", "crops")}
    moments = {name: CONSTANTS[name] for name in ("sizes", "most")}
    payloads = {
        "moments": {**moments, "cap": cap},
        "normalise": {"mean": CONSTANTS["mean"], "scale": CONSTANTS["scale"], "cap": cap},
        "expect": question(asked),
        "settle": question(asked),
        "calibrate": {f"counts.{name}": value_histogram(np.arange(50.0)) for name in ("common", "whole")},
    }
    payloads["calibrate"]["usual_rows"] = np.array(100.0)
    for step, payload in payloads.items():
        reply = site.steps[step][0]({**payload, **QUESTION}, own)
        said[step] = np.concatenate([np.zeros(0), *(np.ravel(value) for value in reply.values())])
    return said


def moved(few: CometSite, more: CometSite, asked: Mixture, cap: float) -> dict[str, float]:
    counted: State = {}
    one = told(few, asked, counted, cap)
    other = told(more, asked, counted, cap)
    return {step: float(np.linalg.norm(other[step] - one[step])) for step in one}


def assert_at_most_1(found: Mapping[str, float]) -> None:
    assert found.keys() == {"sizes", "moments", "normalise", "expect", "settle", "calibrate"}
    assert found["normalise"] == 0
    # Noise on the count is on a grid of a thousandth of its deviation.
    assert found["sizes"] <= 1 + 0.02
    assert max(value for step, value in found.items() if step != "sizes") <= 1 + 1e-4, found
    assert max(found.values()) > 0.3  # something was added indeed


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> Dataset:
    """Three videos; the last segment of the first has a place for one crop more of each content."""
    rng, kinds = np.random.default_rng(3), list(CONTENTS.values())
    x = rng.normal(size=(12, len(kinds), 6)).astype(np.float32)
    x[-1] = kinds
    present = rng.random((12, len(kinds))) < 0.7
    present[-1] = False
    videos = {"v0": (x, present)}
    for k in (1, 2):
        videos[f"v{k}"] = (noise(25, len(kinds), seed=k), np.random.default_rng(k).random((25, len(kinds))) < 0.5)
    return store_of(tmp_path_factory.mktemp("crowded"), videos, ["gate", "gate", "yard"])


def with_crop(made: Dataset, folder: Path, crop: int) -> Dataset:
    """The same dataset, with this crop of the last segment of the first video present, beside another one if odd."""
    shutil.copytree(made.path, folder)
    valid = np.load(folder / "store" / "valid.npy")
    valid[11, crop] = True
    np.save(folder / "store" / "valid.npy", valid)
    return Dataset(folder)


@pytest.fixture
def without_scores(monkeypatch) -> None:
    """What stays at the site, and takes most of the time."""
    monkeypatch.setattr(CometSite, "_scores", lambda self, state: [np.zeros(1, np.float32)])


@pytest.mark.usefixtures("without_scores")
@pytest.mark.parametrize("crop", range(len(CONTENTS)), ids=CONTENTS)
@pytest.mark.parametrize("asked", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize(("epsilon", "cap"), [(8.0, 1e12), (math.inf, 40.0)])
def test_one_crop_more_moves_no_message_by_more_than_1(tmp_path, crowded, crop, asked, epsilon, cap):
    videos, plan = ["v0", "v1", "v2"], private_plan("crop", epsilon, PLACED)
    more = with_crop(crowded, tmp_path / "more", crop)
    found = moved(site_of(crowded, videos, plan), site_of(more, videos, plan), asked, cap)
    if cap > 100:
        assert_at_most_1(found)
    else:
        assert max(found.values()) <= 1 + 1e-4


def test_one_crop_more_moves_no_message_by_more_than_1_where_a_sample_is_drawn(tmp_path, crowded, monkeypatch):
    monkeypatch.setattr("clap_vad.algorithms.comet_site._MOST_ROWS", 64)
    videos, plan = ["v0", "v1", "v2"], private_plan("crop", math.inf)
    for crop in range(len(CONTENTS)):
        more = with_crop(crowded, tmp_path / str(crop), crop)
        assert max(moved(site_of(crowded, videos, plan), site_of(more, videos, plan), usual(), 1e12).values()) <= 1.0001


def video(content: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    if content == "a single crop":
        return noise(1, 2), np.array([[True, False]])
    if content == "no crop":
        return noise(9, 2), np.zeros((9, 2), bool)
    if content == "more crops than count":
        return rng.normal(size=(1500, 2, 6)).astype(np.float32) * 5, np.ones((1500, 2), bool)
    kind = CONTENTS[content.removeprefix("all ")]
    return np.tile(kind, (40, 2, 1)).astype(np.float32), np.ones((40, 2), bool)


VIDEOS = ["a single crop", "no crop", "more crops than count", *(f"all {name}" for name in CONTENTS)]


@pytest.fixture(scope="module")
def lengthy(tmp_path_factory) -> tuple[Dataset, list[str]]:
    """Videos of all lengths, and one more of each content; the names of the former."""
    lengths = (1030, *range(500, 800, 30), 7)
    others = {f"v{k}": (noise(n, 2, seed=k), np.ones((n, 2), bool)) for k, n in enumerate(lengths)}
    more = {content: video(content) for content in VIDEOS}
    scenes = [*["gate"] * len(others), *["yard"] * len(more)]
    return store_of(tmp_path_factory.mktemp("lengthy") / "d", {**others, **more}, scenes), list(others)


@pytest.mark.usefixtures("without_scores")
@pytest.mark.parametrize("asked", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("cap", [1e12, 2.0])
@pytest.mark.parametrize("epsilon", [8.0, math.inf])
def test_one_whole_video_more_moves_no_message_by_more_than_1(lengthy, asked, cap, epsilon):
    """Beside videos of all lengths: what one of its crops counts follows from the video alone."""
    (made, others), plan = lengthy, private_plan("video", epsilon, PLACED)
    counted: State = {}
    few = told(site_of(made, others, plan), asked, counted, cap)
    for content in VIDEOS:
        more = told(site_of(made, [*others, content], plan), asked, counted, cap)
        found = {step: float(np.linalg.norm(more[step] - few[step])) for step in few}
        assert max(value for step, value in found.items() if step != "sizes") <= 1 + 1e-4, (content, found)
        assert found["sizes"] <= 1.02 and found["normalise"] == 0
        assert content == "no crop" or found["sizes"] > 0.3


# What is refused.


def ready(made: Dataset, videos: Sequence[str], until: str) -> tuple[CometSite, dict, dict[str, dict]]:
    """A site that has answered all honest questions before ``until``, its state, and an honest payload of each."""
    site, state = site_of(made, videos, private_plan(epsilon=math.inf)), {}
    mixture = usual()
    honest: dict[str, dict] = {
        "sizes": {},
        "moments": {"sizes": np.ones(6), "most": 3.0, "cap": 1e9},
        "normalise": {"mean": np.ones(6, np.float32), "scale": np.full(6, 2, np.float32), "cap": 1e9},
        "expect": {"round": 0, **question(mixture)},
        "settle": question(mixture),
        "calibrate": {f"counts.{name}": value_histogram(np.arange(50.0)) for name in ("common", "whole")},
    }
    honest["calibrate"]["usual_rows"] = np.array(100.0)
    for step, payload in honest.items():
        if step == until:
            break
        site.steps[step][0]({**payload, **QUESTION}, state)
    return site, state, honest


DENSITIES: dict[str, dict[str, np.ndarray]] = {
    "very narrow": {"covariances": np.tile(np.eye(6) * 1e-4, (COMPONENTS, 1, 1))},
    "narrow in one direction": {"covariances": np.tile(np.diag([1.0] * 5 + [1e-3]), (COMPONENTS, 1, 1))},
    "a hair too narrow": {"covariances": np.tile(np.eye(6) * LEAST_VARIANCE * 0.999, (COMPONENTS, 1, 1))},
    "one of 64 too narrow": {
        "covariances": np.concatenate([np.tile(np.eye(6), (COMPONENTS - 1, 1, 1)), 1e-3 * np.eye(6)[None]])
    },
    "wider than the cut": {"covariances": np.tile(np.eye(6) * 226.0, (COMPONENTS, 1, 1))},
    "negative": {"covariances": np.tile(-np.eye(6), (COMPONENTS, 1, 1))},
    "not symmetric": {"covariances": np.tile(np.eye(6) + np.triu(np.ones((6, 6)), 1), (COMPONENTS, 1, 1))},
    "NaN": {"means": np.full((COMPONENTS, 6), np.nan)},
    "NaN covariances": {"covariances": np.full((COMPONENTS, 6, 6), np.nan)},
    "NaN weights": {"weights": np.full(COMPONENTS, np.nan)},
    "beyond the cut": {"means": np.full((COMPONENTS, 6), 15.1)},
    "one mean beyond the cut": {"means": np.concatenate([np.zeros((COMPONENTS - 1, 6)), np.full((1, 6), -99.0)])},
    "absurdly far": {"means": np.full((COMPONENTS, 6), 1e200)},
    "3e38": {"means": np.full((COMPONENTS, 6), 3e38)},
    "3e38 wide": {"covariances": np.tile(np.eye(6) * 3e38, (COMPONENTS, 1, 1))},
    "infinite": {"means": np.full((COMPONENTS, 6), np.inf)},
    "weights of 2": {"weights": np.full(COMPONENTS, 2 / COMPONENTS)},
    "a weight below 0": {"weights": np.concatenate([[-0.5, 1.5], np.zeros(COMPONENTS - 2)])},
    "other features": vars(usual(5)),
    "half as many components": {
        "weights": np.full(32, 1 / 32), "means": np.zeros((32, 6)), "covariances": np.tile(np.eye(6), (32, 1, 1))
    },
    "one dimension": {"means": np.zeros(6)},
    "text": {"means": np.full((COMPONENTS, 6), "a")},
    "text weights": {"weights": np.full(COMPONENTS, "a")},
    "bytes": {"covariances": np.full((COMPONENTS, 6, 6), b"a")},
    "float32": {"means": np.zeros((COMPONENTS, 6), np.float32)},
    "whole numbers": {"means": np.zeros((COMPONENTS, 6), np.int64)},
    "truth values": {"weights": np.ones(COMPONENTS, bool)},
    "complex": {"means": np.zeros((COMPONENTS, 6), complex)},
}  # fmt: skip

_SIZES, _CAP = "the sizes sent to this site are", "the most that a site may count in this run is not a number above 0"
_SCALE, _USUAL = "the scale of surprise sent to this site is", "the usual number of crops sent to this site is"
_CONSTANTS = "the normalisation sent to this site is"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "sizes of other features": ("moments", {"sizes": np.ones(5)}, _SIZES),
    "sizes of two dimensions": ("moments", {"sizes": np.ones((6, 1))}, _SIZES),
    "sizes text": ("moments", {"sizes": np.full(6, "a")}, _SIZES),
    "sizes float32": ("moments", {"sizes": np.ones(6, np.float32)}, _SIZES),
    "sizes 0": ("moments", {"sizes": np.zeros(6)}, _SIZES),
    "sizes negative": ("moments", {"sizes": -np.ones(6)}, _SIZES),
    "sizes NaN": ("moments", {"sizes": np.full(6, np.nan)}, _SIZES),
    "sizes infinite": ("moments", {"sizes": np.full(6, np.inf)}, _SIZES),
    "most 0": ("moments", {"most": 0.0}, _SIZES),
    "most NaN": ("moments", {"most": math.nan}, _SIZES),
    "most 3e38": ("moments", {"most": 3e38}, _SIZES),
    "most text": ("moments", {"most": np.array("a")}, _SIZES),
    "most an array": ("moments", {"most": np.ones(1)}, _SIZES),
    **{
        f"{step}: cap {name}": (step, {"cap": value}, _CAP)
        for step in ("moments", "normalise")
        for name, value in {
            "0": 0.0, "negative": -1.0, "NaN": math.nan, "infinite": math.inf, "text": np.array("a"),
            "an array": np.ones(1), "a whole number": 5,
        }.items()
    },
    "constants of other features": ("normalise", {"mean": np.zeros(5, np.float32)}, _CONSTANTS),
    "constants of none": ("normalise", {"scale": np.zeros(0, np.float32)}, _CONSTANTS),
    "constants of two dimensions": ("normalise", {"mean": np.zeros((1, 6), np.float32)}, _CONSTANTS),
    "constants float64": ("normalise", {"mean": np.zeros(6)}, _CONSTANTS),
    "constants text": ("normalise", {"mean": np.full(6, "a")}, _CONSTANTS),
    "mean NaN": ("normalise", {"mean": np.full(6, np.nan, np.float32)}, _CONSTANTS),
    "mean infinite": ("normalise", {"mean": np.full(6, np.inf, np.float32)}, _CONSTANTS),
    "scale NaN": ("normalise", {"scale": np.full(6, np.nan, np.float32)}, _CONSTANTS),
    "scale infinite": ("normalise", {"scale": np.full(6, np.inf, np.float32)}, _CONSTANTS),
    "scale negative": ("normalise", {"scale": np.array([1, 1, 1, 1, 1, -1], np.float32)}, _CONSTANTS),
    **{
        f"{step}: a density {name}": (step, changes, "the density sent to this site is not one that a step of EM gives")
        for step in ("expect", "settle")
        for name, changes in DENSITIES.items()
    },
    "a scale of other bins": ("calibrate", {"counts.whole": np.zeros(9, np.int64)}, _SCALE),
    "a scale below 0": ("calibrate", {"counts.common": -np.ones(SURPRISE_BINS, np.int64)}, _SCALE),
    "a scale of halves": ("calibrate", {"counts.whole": np.full(SURPRISE_BINS, 0.5)}, _SCALE),
    "a scale text": ("calibrate", {"counts.whole": np.full(SURPRISE_BINS, "a")}, _SCALE),
    **{
        f"usual crops {name}": ("calibrate", {"usual_rows": value}, _USUAL)
        for name, value in {
            "0": np.array(0.0), "NaN": np.array(np.nan), "3e38": np.array(3e38), "text": np.array("a"),
            "an array": np.full(1, 9.0), "float32": np.array(9, np.float32),
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize(("step", "changes", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_honest_run_sends_is_refused_in_one_sentence(dataset, step, changes, says):
    site, state, honest = ready(dataset, by_scene(dataset)["north"], step)
    with pytest.raises(RefusalError, match=says) as refusal:
        site.steps[step][0]({**honest[step], **changes, **QUESTION}, dict(state))
    assert "\n" not in str(refusal.value) and str(refusal.value).endswith("; refused")
    site.steps[step][0]({**honest[step], **QUESTION}, state)


@pytest.mark.parametrize("value", [1e9, 1e10])
def test_constants_that_would_set_crops_far_apart_set_none_apart(dataset, value):
    """A huge scale is taken: cut at 15 and shortened, no crop counts for more than 1, which noise covers."""
    site, state, honest = ready(dataset, by_scene(dataset)["north"], "normalise")
    site.steps["normalise"][0]({**honest["normalise"], "scale": np.full(6, value, np.float32)}, state)
    assert np.abs(state["rows"]).max() <= 15
    reply = site.steps["expect"][0]({**honest["expect"], **QUESTION}, state)
    assert np.linalg.norm(np.concatenate([np.ravel(v) for v in reply.values()])) <= len(state["rows"]) * (1 + 1e-6)


def test_a_site_answers_in_the_order_of_a_run_alone(tmp_path, dataset):
    """As every method's (``test_order``); here the order itself, by name."""
    held = by_scene(dataset)
    plan = private_plan(participants=tuple(held))
    site = Federation(tmp_path, dataset, held, plan, COMET).sites()[0]
    mixture = question(usual())
    for step, schema in (("moments", "row_moments"), ("expect", "row_density"), ("settle", "row_scales")):
        with pytest.raises(RefusalError, match=f"asked for '{step}' before 'sizes'; refused"):
            site.handle(Ask(step, schema, {**mixture}))
    site.handle(Ask("sizes", "row_sizes", {}))
    with pytest.raises(RefusalError, match="asked for 'sizes' more than 1 time"):
        site.handle(Ask("sizes", "row_sizes", {}, sequence=1, accepted={site.participant: 0}))
    with pytest.raises(RefusalError, match="asked for 'calibrate' before 'normalise'; refused"):
        site.handle(Ask("calibrate", "segment_peaks", {}, sequence=1, accepted={site.participant: 0}))


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
    # Each crop counts 1000 in both histograms together, whose norm is that of one.
    for name in ("common", "whole"):
        assert found[1][f"counts.{name}"].sum() == pytest.approx(1000 / math.sqrt(2) * present, abs=1)
    peopled = sum(valid.any(axis=1).sum() for _, valid in [*others.values(), *odd.values()])
    assert found[1]["score_histogram"].sum() == 1000 * peopled
    assert not left_out(found[1])


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
    drawn, all_crops = (round(r[1]["counts.common"].sum() / 1000 * math.sqrt(2), 2) for r in (one, whole))
    assert 50 < drawn < 130 and all_crops == 360  # a quarter of them, each by itself
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


class Lying(InProcessEngine):
    """In which one site's answers to some steps are others than it gives."""

    def __init__(self, sites: Sequence[Site], liar: str, lies: Mapping[str, Callable[[Message], Message]]) -> None:
        super().__init__(sites)
        self._liar, self._lies = liar, lies

    def _reply(self, participant: str, ask: Ask, check: Check) -> Reply:
        reply = super()._reply(participant, ask, check)
        if participant != self._liar or ask.step not in self._lies:
            return reply
        return Reply(participant, self._lies[ask.step](reply.message))


def all_in_the_last(message: Message) -> Message:
    return {"bins": np.where(np.arange(64) == 63, np.sum(message["bins"]), 0.0)}


STEP_LIES: dict[str, dict[str, Callable[[Message], Message]]] = {
    "peaks": {"calibrate": all_in_the_last},
    "peaks without bound": {"calibrate": lambda message: {"bins": np.full(64, 1e6)}},
    "density": {"expect": lambda message: {name: -np.asarray(value) for name, value in message.items()}},
    "all": {
        "expect": lambda message: {name: 0.9 * np.asarray(value)[::-1] for name, value in message.items()},
        "settle": lambda message: {name: np.asarray(value)[::-1] for name, value in message.items()},
        "calibrate": all_in_the_last,
    },
}


@pytest.mark.parametrize("step", ["sizes", "expect", "calibrate"])
def test_whose_sums_cannot_be_true_is_told_at_once_and_once(tmp_path, dataset, step):
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2))
    made, told = Federation(tmp_path, dataset, held, plan, COMET), []
    negative = {step: lambda message: {name: -1e4 + 0 * np.asarray(value) for name, value in message.items()}}
    steps, checkpoint = partial(COMET.coordinate, plan, log=lambda record: None), Checkpoint(tmp_path / "checkpoints")
    state = coordinate(
        steps, Lying(made.sites(), "south", negative), checkpoint, 6, on_left_out=lambda *what: told.append(what)
    )
    assert told == list(left_out(state).items())
    assert [name for name, _ in told] == ["south"]


@pytest.mark.parametrize("lie", STEP_LIES)
def test_thresholds_of_homes_are_by_their_own_sites_scores_whatever_another_says(tmp_path, dataset, lie):
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2))
    honest = Federation(tmp_path / "honest", dataset, held, plan, COMET)
    expected, other = honest.homes(honest.run()), Federation(tmp_path / "lied to", dataset, held, plan, COMET)
    engine = Lying(other.sites(), "south", STEP_LIES[lie])
    steps = partial(COMET.coordinate, plan, log=lambda record: None)
    state = coordinate(steps, engine, Checkpoint(other.folder / "checkpoints"), plan.dim)
    homes = other.homes(state)
    assert homes.keys() == set(SCENES) - left_out(state).keys()
    assert left_out(state).keys() <= {"south"}
    for scene, model in homes.items():
        scores = np.concatenate(
            [
                model.score_videos(*(lambda store, entry: (store, [entry]))(*dataset.locate(v)), 1)[0]
                for v in held[scene]
            ]
        )
        calibration = model.info["calibration"]
        for level, threshold in calibration["quantiles"].items():
            # The scores' own quantile, to within a bin of the fixed histogram.
            own = np.sort(scores)[math.ceil(float(level) * len(scores)) - 1]
            assert threshold == pytest.approx(own, abs=0.003)
        assert calibration["threshold"] == calibration["quantiles"][str(calibration["quantile"])]
        if lie.startswith("peaks"):  # before which every home was made
            assert model.info == expected[scene].info
            assert {n: a.tobytes() for n, a in model.arrays().items()} == {
                n: a.tobytes() for n, a in expected[scene].arrays().items()
            }
