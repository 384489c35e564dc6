"""COMET with malicious, absent or killed sites: who is excluded, who is not, and that others are unaffected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from comet_tools import (
    COMET,
    auc,
    by_scene,
    homes_of,
    noise,
    run,
    store_of,
)
from interrupted import run_with_stops

from clap_vad.algorithms.comet_site import CometSite, mixture_of
from clap_vad.datasets.dataset import Dataset
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.federation.ask import Ask, Reply, State
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check, Quorum
from clap_vad.federation.left_out import left_out
from clap_vad.federation.messages import Message
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation
from synthetic import SCENES, comet_terms, make_dataset, make_plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("comet") / "data", videos=4, dim=6))


@pytest.mark.parametrize("step", ["_moments", "_expect", "_personalise", "_calibrate"])
def test_an_implausible_masked_sum_ends_no_run(tmp_path, monkeypatch, dataset, step):
    """Nobody can be named: something that no site has said takes its place, and homes judge as well as before."""
    held, honest = by_scene(dataset), getattr(CometSite, step)

    def lie(self: CometSite, payload: Message, state: State) -> Message:
        much = self.data.participant == "south"
        return {name: np.asarray(value) * (50 if much else 1) for name, value in honest(self, payload, state).items()}

    monkeypatch.setattr(CometSite, step, lie)
    found = run(tmp_path / "lied to", dataset, held, secure=True)
    _, state, _ = found
    assert mixture_of(state).possible() and not left_out(state)
    assert auc(dataset, homes_of(*found)) > 0.8


@pytest.mark.parametrize("unit", ["crop", "video"])
@pytest.mark.parametrize("secure", [False, True], ids=["bare", "masked"])
def test_an_honest_site_is_plausible_with_any_amount_of_data(tmp_path, unit, secure):
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
def test_a_site_that_was_absent_for_a_while_is_plausible(tmp_path, dataset, steps, epsilon):
    """What it missed it is asked again, without an answer; it counts from then on."""
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2, epsilon=epsilon))
    federation = Federation(tmp_path, dataset, held, plan, COMET)
    engine, answered = Away(federation.sites(), "south", steps), []
    made = partial(COMET.coordinate, plan, log=lambda record: answered.append(record["participants"]))
    state = coordinate(made, engine, Checkpoint(tmp_path / "checkpoints"), plan.dim, Quorum(sites=3))
    assert not left_out(state)
    assert answered == [4, 4]
    assert federation.personalised(state).keys() == set(SCENES)


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
def test_implausible_sums_are_reported_immediately_and_once(tmp_path, dataset, step):
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
def test_thresholds_of_personalised_models_depend_on_their_own_site_only(tmp_path, dataset, lie):
    held = by_scene(dataset)
    plan = make_plan(participants=tuple(held), dim=6, privacy=comet_terms(2))
    honest = Federation(tmp_path / "honest", dataset, held, plan, COMET)
    expected, other = honest.personalised(honest.run()), Federation(tmp_path / "lied to", dataset, held, plan, COMET)
    engine = Lying(other.sites(), "south", STEP_LIES[lie])
    steps = partial(COMET.coordinate, plan, log=lambda record: None)
    state = coordinate(steps, engine, Checkpoint(other.folder / "checkpoints"), plan.dim)
    personalised = other.personalised(state)
    assert left_out(state).keys() <= {"south"}
    assert personalised.keys() == set(SCENES) - left_out(state).keys()
    for scene, model in personalised.items():
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
