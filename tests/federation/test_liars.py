"""Sites that lie: no answer ends a run, and what cannot be true has no part in its model."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupted import StoppedError
from shrunk import shrink_generator

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.rounds import global_weights, quantiles
from clap_vad.datasets.dataset import Dataset
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.federation import secure_coordinator
from clap_vad.federation.ask import Ask
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Quorum
from clap_vad.federation.left_out import left_out
from clap_vad.federation.messages import ImpossibleMessageError
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation
from synthetic import SCENES, make_dataset, make_plan

LIAR = "south"
QUICK = {"min_steps": 0, "local_epochs": 1}
CLAP = ("clap", {**QUICK, "refine_from": 1, "segregation": "federated"})
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "fedavg": ("clap", {**QUICK, "refine_from": 1}, "fedavg", {}),
    "fedprox": ("clap", QUICK, "fedprox", {}),
    "scaffold": ("clap", {**QUICK, "momentum": 0.0}, "scaffold", {}),
    "median": ("clap", QUICK, "median", {}),
    "trimmed-mean": ("c2fpl", QUICK, "trimmed-mean", {}),
    "fedyogi": ("c2fpl", QUICK, "fedyogi", {}),
    "federated": (*CLAP, "fedavg", {}),
    "masked": (*CLAP, "fedavg", {"secure": True}),
    "drawn": ("clap", QUICK, "fedavg", {"fraction": 0.5}),
    "gcl": ("gcl", {**QUICK, "lr": 1e-3, "pretrain_rounds": 1, "negative_from": 2}, "fedavg", {}),
}

Lie = Callable[[np.ndarray], np.ndarray]


def scaled(factor: float) -> Lie:
    return lambda value: (value.astype(np.float64) * factor).astype(value.dtype)


def filled(number: float) -> Lie:
    def lie(value: np.ndarray) -> np.ndarray:
        if value.dtype.kind == "i" and np.isfinite(number):
            return np.full_like(value, int(np.clip(number, -(2.0**63), 2**62)))
        with np.errstate(over="ignore"):
            return np.full(value.shape, number).astype(float if value.dtype.kind == "i" else value.dtype)

    return lie


LIES = {"huge": ("update", filled(3e38)), "turned": ("update", scaled(-1000)), "nan": ("update", filled(np.nan)),
        "count": ("count", filled(1e15)), "more": ("count", scaled(1000)), "negative": ("count", filled(-1.0)),
        "loss": ("loss", filled(np.inf))}  # fmt: skip


@dataclass
class Lying:
    """What one site, or all, say instead of the truth; after their own exit, so that nobody there holds it back."""

    step: str = ""
    entry: str = ""
    lie: Lie = field(default=lambda value: value)
    from_round: int = 1
    liars: tuple[str, ...] = (LIAR,)
    told: list[str] = field(default_factory=list)

    def __call__(self, participant: str, ask: Ask, message: dict) -> dict:
        late = int(ask.payload.get("round", self.from_round)) >= self.from_round
        if participant not in self.liars or ask.step != self.step or not late:
            return message
        self.told.append(participant)
        return {
            key: self.lie(np.asarray(value)) if key.split(".")[0] == self.entry or self.entry == "*" else value
            for key, value in message.items()
        }


@pytest.fixture
def lying(monkeypatch) -> Lying:
    lies, handle = Lying(), Site.handle
    monkeypatch.setattr(Site, "handle", lambda site, ask: lies(site.participant, ask, handle(site, ask)))
    return lies


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_generator(patch)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, test=False))


def federation_of(folder: Path, dataset: Dataset, case: str, participants: tuple[str, ...] = SCENES) -> Federation:
    method, options, strategy, changes = CASES[case]
    plan = make_plan(strategy, rounds=3, **{"normalise": "federated", **changes})
    held = {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in participants}
    return Federation(folder, dataset, held, plan, make_method(method, options))


@pytest.fixture
def make_federation(dataset, tmp_path) -> Callable[..., Federation]:
    def make(case: str, name: str = "run", participants: tuple[str, ...] = SCENES) -> Federation:
        return federation_of(tmp_path / name, dataset, case, participants)

    return make


class Without(InProcessEngine):
    """From one round on a site is not asked at all."""

    def __init__(self, sites, from_round: int) -> None:
        super().__init__(sites)
        self.from_round = from_round

    def deliver(self, ask, check):
        if ask.step == "calibrate" or int(ask.payload.get("round", 0)) >= self.from_round:
            ask = Ask(**{**vars(ask), "targets": tuple(name for name in ask.targets if name != LIAR)})
        return super().deliver(ask, check)


def weights_of(state) -> dict[str, np.ndarray]:
    return {**global_weights(state), "histogram": state["score_histogram"]}


def assert_same(one, other) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture(scope="module")
def without_the_liar(dataset, tmp_path_factory) -> Callable[[str], dict[str, np.ndarray]]:
    """The state of a case in which nobody lies and one site is not asked from round 2 on."""

    @functools.cache
    def run(case: str) -> dict[str, np.ndarray]:
        plain = federation_of(tmp_path_factory.mktemp("plain") / "run", dataset, case)
        return coordinate(
            lambda state: plain.method.coordinate(plain.plan, state, lambda record: None),
            Without(plain.sites(), 2),
            Checkpoint(plain.folder / "checkpoints"),
            16,
            Quorum(3),
        )

    return run


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("case", ["fedavg", "fedprox", "scaffold", "median", "trimmed-mean", "fedyogi"])
def test_who_lies_in_a_round_is_named_and_the_model_is_that_of_the_others(
    make_federation, without_the_liar, lying, case, lie
):
    expected = without_the_liar(case)
    lying.step, (lying.entry, lying.lie), lying.from_round = "train", LIES[lie], 2
    federation = make_federation(case)
    state = federation.run()
    assert lying.told == [LIAR]  # once: afterwards nobody asks it
    assert left_out(state).keys() == {LIAR}
    assert left_out(state)[LIAR].startswith("message '")
    assert_same(weights_of(state), weights_of(expected))
    lines = [json.loads(line) for line in (federation.folder / "rounds.jsonl").read_text().splitlines()]
    assert [line["participants"] for line in lines] == [4, 3, 3]
    assert [line.get("left_out", {}).keys() for line in lines] == [set(), {LIAR}, set()]


EXTREMES = [3e38, -0.0, 1e300, 1e29, -1e29, np.nan, -np.inf, -1.0, 1e15, 2.0**62, 1e-300]
ENTRIES = [("moments", "sum"), ("moments", "sumsq"), ("moments", "*"), ("normalise", "count"), ("summarise", "outer"),
           ("summarise", "unlabelled"), ("summarise", "*"), ("mixture", "responsibility"), ("mixture", "sum"),
           ("mixture", "outer"), ("mixture", "likelihood"), ("segregate", "sum"), ("segregate", "sumsq"),
           ("label", "count"), ("train", "update"), ("train", "loss"), ("calibrate", "counts")]  # fmt: skip


@pytest.mark.parametrize(("step", "entry"), ENTRIES)
def test_no_number_that_one_site_can_send_ends_a_run(make_federation, lying, step, entry):
    """Every numerical failure of the coordinator would be an error here, and any other site's name too."""
    lying.step, lying.entry = step, entry
    for number, extreme in enumerate(EXTREMES):
        lying.lie = filled(extreme)
        with np.errstate(all="raise", under="ignore"):
            state = make_federation("federated", f"{number}").run()
        assert lying.told
        assert left_out(state).keys() <= {LIAR}, extreme
        assert left_out(state) or extreme in (-0.0, -1.0, 1e-300) or entry in ("likelihood", "loss"), extreme
        assert all(np.isfinite(value).all() and np.abs(value).max() < 2 for value in global_weights(state).values())
        assert all(0 <= level <= 1 for level in quantiles(state, (0.5, 0.999)).values())


@pytest.mark.parametrize(("step", "entry"), [("pretrain", "update"), ("train", "update"), ("label", "count")])
def test_a_lie_in_any_round_of_gcl_is_left_out(make_federation, lying, step, entry):
    lying.step, lying.entry, lying.lie = step, entry, filled(3e38)
    assert left_out(make_federation("gcl").run()).keys() == {LIAR}


def test_who_was_left_out_stays_out_after_a_kill(make_federation, lying):
    lying.step, (lying.entry, lying.lie), lying.from_round = "train", LIES["turned"], 2
    expected = make_federation("fedavg", "whole").run()
    lying.told.clear()
    federation, stops = make_federation("fedavg"), 0

    def stop(ask: Ask, participant: str) -> None:
        if ask.payload.get("round") == 3 and participant == "north" and stops == 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        federation.run(stop)
    assert left_out(Checkpoint(federation.folder / "checkpoints").load()).keys() == {LIAR}
    stops = 1
    lying.liars = ()  # it would tell the truth now
    state = federation.run()
    assert lying.told == [LIAR]
    assert left_out(state) == left_out(expected)
    assert_same(weights_of(state), weights_of(expected))


def test_killed_as_the_lie_comes_in_the_rest_is_the_same(make_federation, lying, monkeypatch):
    """The name is kept before anything else happens, and nothing else of the question is."""
    lying.step, (lying.entry, lying.lie), lying.from_round = "train", LIES["more"], 2
    expected = make_federation("scaffold", "whole").run()
    federation = make_federation("scaffold")
    save = Checkpoint.save

    def stop(checkpoint, state):
        save(checkpoint, state)
        if left_out(state):
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", stop)
        with pytest.raises(StoppedError):
            federation.run()
    state = federation.run()
    assert_same(weights_of(state), weights_of(expected))
    assert left_out(state) == left_out(expected)


def test_an_answer_that_a_sites_own_exit_holds_back_leaves_it_out(make_federation, monkeypatch):
    federation = make_federation("fedavg")
    sites = federation.sites()
    site = next(site for site in sites if site.participant == LIAR)
    train, schema = site.program.steps["train"]
    steps = {**site.program.steps, "train": (lambda p, s: {**train(p, s), "loss": float("nan")}, schema)}
    monkeypatch.setattr(site.program, "steps", steps)
    monkeypatch.setattr(Federation, "sites", lambda self: sites)
    told = []
    state = federation.run(on_left_out=lambda participant, why: told.append((participant, why)))
    assert told == [*left_out(state).items()]
    assert "'loss' holds NaN" in left_out(state)[LIAR]


def test_where_all_lie_one_sentence_names_them(make_federation, lying):
    lying.step, (lying.entry, lying.lie), lying.liars = "train", LIES["nan"], SCENES
    with pytest.raises(ClapError, match=r"step 'train': 0 participants are left to ask and 1 are needed.*lower --lr"):
        make_federation("fedavg").run()


def test_where_the_drawn_ones_lie_others_are_asked(make_federation, lying):
    lying.step, (lying.entry, lying.lie), lying.liars = "train", LIES["nan"], ("north", "south", "east")
    state = make_federation("drawn").run()
    assert left_out(state) and "west" not in left_out(state)
    assert int(state["round"]) == 3 and "score_histogram" in state


def test_of_two_sites_neither_is_blamed_and_the_model_keeps_its_size(make_federation, lying):
    lying.step, lying.entry, lying.lie = "train", "update", scaled(-1e6)
    federation = make_federation("fedavg", participants=("north", "south"))
    state = federation.run()
    assert left_out(state) == {}
    lines = [json.loads(line) for line in (federation.folder / "rounds.jsonl").read_text().splitlines()]
    assert [line.get("skipped") for line in lines] == [1, 1, 1]
    assert all(np.abs(value).max() < 2 for value in global_weights(state).values())


def test_under_masks_what_its_exit_holds_back_leaves_a_site_out(make_federation, monkeypatch):
    checked = Site.handle

    def handle(site, ask):
        masks = ask.secure is not None and ask.secure.phase == "mask"
        if masks and ask.step == "train" and site.participant == LIAR:
            raise ImpossibleMessageError("participant 'south', message 'model_update': 'count' is outside [0, 1]")
        return checked(site, ask)

    monkeypatch.setattr(Site, "handle", handle)
    state = make_federation("masked").run()
    assert left_out(state) == {LIAR: "message 'model_update': 'count' is outside [0, 1]"}
    assert int(state["round"]) == 3 and "score_histogram" in state
    with pytest.raises(ClapError, match=r"2 participants are left to ask and 3 are needed.*'south': message"):
        make_federation("masked", "three", ("north", "south", "east")).run()


def broken(monkeypatch, schema: str, times: int) -> list[int]:
    """So many secure sums of this schema hold what one site added in the ring."""
    read, seen = secure_coordinator.read_sum, []

    def read_sum(secure, layout, narrow, wide, members):
        if secure.schema == schema and len(seen) < times:
            seen.append(members)
            wide = wide.copy()
            wide[:] = wide + np.uint64(2**62 + 2**61)
        return read(secure, layout, narrow, wide, members)

    monkeypatch.setattr(secure_coordinator, "read_sum", read_sum)
    return seen


def test_a_round_whose_masked_sum_cannot_be_true_is_skipped(make_federation, monkeypatch):
    seen = broken(monkeypatch, "model_update", 1)
    federation = make_federation("masked")
    state = federation.run()
    lines = [json.loads(line) for line in (federation.folder / "rounds.jsonl").read_text().splitlines()]
    assert seen == [4] and [line.get("skipped") for line in lines] == [1, None, None]
    assert lines[0]["participants"] == 0 and "loss" not in lines[0]
    assert left_out(state) == {} and int(state["round"]) == 3


@pytest.mark.parametrize("schema", ["feature_moments", "summary_moments", "mixture_statistics", "score_histogram"])
def test_a_masked_sum_that_the_run_needs_is_asked_for_three_times(make_federation, monkeypatch, schema):
    expected = weights_of(make_federation("masked", "plain").run())
    with monkeypatch.context() as patch:
        broken(patch, schema, 2)
        assert_same(weights_of(make_federation("masked", "again").run()), expected)
    broken(monkeypatch, schema, 3)
    with pytest.raises(ClapError, match="asked for 3 times, the cause is unknown"):
        make_federation("masked").run()


def test_what_a_run_left_out_is_in_its_metrics_on_its_page_and_on_standard_error(tmp_path, lying):
    from click.testing import CliRunner

    from clap_vad.cli.train import train

    made = make_dataset(tmp_path / "d", videos=3)
    options = ["--method", "clap", "--rounds", "2", "--min-steps", "0", "--local-epochs", "1"]
    for name in ("honest", "liar"):
        if name == "liar":
            lying.step, (lying.entry, lying.lie) = "train", LIES["turned"]
        done = CliRunner().invoke(train, [str(made), "--out", str(tmp_path / name), *options, "--json"])
        assert done.exit_code == 0, done.output
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        page = (tmp_path / name / "report.html").read_text()
        assert metrics["left_out"].keys() == (set() if name == "honest" else {LIAR})
        assert ("Sites left out" in page) == ("left out of the run" in done.stderr) == (name == "liar")
        assert (f"{LIAR}: {metrics['left_out'].get(LIAR)}" in done.stderr) == (name == "liar")
