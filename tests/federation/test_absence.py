"""Sites that miss questions, or whose answers come to nothing: the model is that of the answers that counted."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from interrupted import StoppedError
from lossy import Fate, Fates, LossyEngine, Moment, as_counted, everybody_answers, seeded
from shrunk import shrink_generator

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.rounds import global_weights
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.ask import Ask, State, Steps
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import ANSWERED, coordinate
from clap_vad.federation.engine import Quorum, TooFewRepliesError
from clap_vad.federation.policy import RefusalError
from clap_vad.workflows.federate import Federation
from synthetic import SCENES, make_dataset, make_plan

ROUNDS = 3
TWO = Quorum(2, 7.0)
STEPS = ("moments", "normalise", "segregate", "label", "train", "train", "train", "calibrate")  # of clap
QUICK = {"min_steps": 0, "local_epochs": 1}
GCL = {**QUICK, "lr": 1e-3, "pretrain_rounds": 1, "negative_from": 2, "generator_threshold": 0.5}

CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "clap-fedavg": ("clap", {**QUICK, "refine_from": 1}, "fedavg", {}),
    "clap-scaffold": ("clap", {**QUICK, "refine_from": 1, "momentum": 0.0}, "scaffold", {}),
    "clap-local-drawn": ("clap", {**QUICK, "refine_from": 1, "refine_model": "local"}, "fedadam", {"fraction": 0.75}),
    "clap-federated-segregation": ("clap", {**QUICK, "refine_from": 1, "segregation": "federated"}, "fedavg", {}),
    "c2fpl-scaffold": ("c2fpl", QUICK, "scaffold", {}),
    "gcl-fedadam": ("gcl", GCL, "fedadam", {}),
}  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES)


# A seed has no simpler one, so nothing is gained by shrinking.
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])


@dataclass
class Trial:
    """One run by sites that are not always there, begun anew as often as too few of them were.

    Attributes:
        asked, counted: as the engines noted them; of a step that failed, no reply counted.
    """

    federation: Federation
    fates: Fates
    enough: bool = True
    quorum: Quorum = TWO
    on_answer: Callable[[Moment, str], None] = lambda moment, participant: None
    asked: list[tuple[Moment, Ask]] = field(default_factory=list)
    counted: dict[Moment, tuple[str, ...]] = field(default_factory=dict)
    attempt: int = 0

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.federation.folder / "checkpoints")

    def once(self) -> State:
        """The coordinator's process, with sites that know what lies on their disks and nothing else."""
        plan, method, checkpoint = self.federation.plan, self.federation.method, self.checkpoint
        sites = self.federation.sites()
        engine = LossyEngine(sites, self.fates, checkpoint, self.attempt, self.enough, self.on_answer)
        try:
            return coordinate(
                lambda state: method.coordinate(plan, state, lambda record: None),
                engine,
                checkpoint,
                plan.dim,
                self.quorum,
            )
        except TooFewRepliesError:
            question = int(checkpoint.load()["sequence"])
            engine.counted[Moment(question, self.attempt, question)] = ()
            self.attempt += 1
            raise
        finally:
            self.asked += engine.asked
            self.counted |= engine.counted

    def run(self) -> State:
        """To the end, taken up anew whenever it stops."""
        while self.attempt < 100:
            try:
                return self.once()
            except (TooFewRepliesError, StoppedError):
                continue
        raise AssertionError("the fates never let it end")

    def site_states(self, state: State) -> dict[str, dict[str, np.ndarray]]:
        """What each site has made of the answers that counted."""
        last = dict(zip(SCENES, state["accepted"], strict=True))
        return {site.participant: dict(site.state(int(last[site.participant]) + 1)) for site in self.federation.sites()}

    def ledger(self, participant: str) -> list[dict[str, Any]]:
        file = self.federation.folder / "sites" / participant / "ledger.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """GCL is quick, and so are files: nobody cuts the power here."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_generator(patch)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="module")
def make_federation(tmp_path_factory, quick) -> Iterator[Callable[..., Federation]]:
    """``make(case, rounds, participants)`` -> four participants, or fewer, in a folder of its own."""
    dataset = Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, test=False))
    with tempfile.TemporaryDirectory() as folder:

        def make(case: str = "clap-fedavg", rounds: int = ROUNDS, participants: tuple[str, ...] = SCENES) -> Federation:
            method, options, strategy, changes = CASES[case]
            plan = make_plan(strategy, rounds=rounds, normalise="federated", **changes)
            held = {name: [v for v in dataset.train_videos if v.startswith(name)] for name in participants}
            return Federation(Path(tempfile.mkdtemp(dir=folder)), dataset, held, plan, make_method(method, options))

        yield make


@pytest.fixture(scope="module")
def plain(make_federation) -> Callable[..., State]:
    """``plain(case)`` -> the final state of the run by four participants in which nothing is lost."""
    return functools.cache(lambda case="clap-fedavg": make_federation(case).run())


def assert_same(state: State, expected: State, *, bytes_too: bool = False) -> None:
    """All that the coordinator knows, bit for bit; how much was sent to no avail may differ."""
    assert state.keys() == expected.keys()
    for name in expected.keys() - (set() if bytes_too else {"bytes_up", "bytes_down"}):
        assert state[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(state[name], expected[name], err_msg=name)


def assert_same_weights(state: State, expected: State) -> None:
    one, other = global_weights(state), global_weights(expected)
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in other)


def absent(step: str, *names: str, fate: Fate = Fate.IS_AWAY) -> Fates:
    """These are away, or lost, while one step is asked for the first time."""

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        return fate if ask.step == step and not ask.silent and participant in names else Fate.ANSWERS

    return fates


@each_case
@few
@given(seed=seeds, enough=st.booleans())
def test_answers_that_did_not_count_leave_no_trace(make_federation, case, seed, enough):
    trial = Trial(make_federation(case), seeded(seed), enough)
    state = trial.run()
    again = Trial(make_federation(case), as_counted(trial.counted), enough=False)
    expected = again.run()
    assert again.counted == trial.counted
    assert_same(state, expected)
    for name, own in again.site_states(expected).items():
        found = trial.site_states(state)[name]
        assert found.keys() == own.keys()
        for entry, value in own.items():
            np.testing.assert_array_equal(found[entry], value, err_msg=f"{name}: {entry}")


@each_case
@settings(few, max_examples=1)
@given(seed=seeds)
def test_stopped_after_every_answer_it_ends_with_the_same_model(make_federation, case, seed):
    seen = set()

    def stop_once(moment: Moment, participant: str) -> None:
        if (moment, participant) not in seen:
            seen.add((moment, participant))
            raise StoppedError

    expected = Trial(make_federation(case), seeded(seed)).run()
    trial = Trial(make_federation(case), seeded(seed), on_answer=stop_once)
    state = trial.run()
    assert len(seen) >= 2 * int(state["sequence"])
    assert_same(state, expected)


@each_case
def test_with_nobody_lost_it_is_the_plain_run(make_federation, plain, case):
    for quorum in (TWO, Quorum()):
        state = Trial(make_federation(case), everybody_answers, quorum=quorum).run()
        assert_same(state, plain(case), bytes_too=True)


@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("drawn")])
def test_who_is_never_there_might_as_well_not_exist(make_federation, case):
    three = make_federation(case, participants=("north", "south", "east")).run()

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        return Fate.IS_AWAY if participant == "west" else Fate.ANSWERS

    assert_same_weights(Trial(make_federation(case), fates).run(), three)


@each_case
def test_who_is_never_heard_might_as_well_not_be_there(make_federation, plain, case):
    """SCAFFOLD's control variates, CLAP's refined labels: nothing of a lost answer may come back later."""

    def missing(fate: Fate) -> Fates:
        def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
            return fate if participant == "west" and ask.payload.get("round") in (1, 2) else Fate.ANSWERS

        return fates

    lost, away = (Trial(make_federation(case), missing(fate)) for fate in (Fate.IS_LOST, Fate.IS_AWAY))
    assert_same(lost.run(), away.run())
    assert len(lost.ledger("west")) > len(away.ledger("west"))
    everybody, found = global_weights(plain(case)), global_weights(away.checkpoint.load())
    assert not all(np.array_equal(value, everybody[name]) for name, value in found.items())


@pytest.mark.parametrize("fate", [Fate.IS_AWAY, Fate.IS_LOST])
@pytest.mark.parametrize("step", ["normalise", "segregate", "label"])
def test_what_a_participant_missed_it_does_later_and_acknowledges(make_federation, step, fate):
    trial = Trial(make_federation(), absent(step, "east", fate=fate))
    state = trial.run()
    number = STEPS.index(step)
    lines = [(line["sequence"], line["step"], line["schema"]) for line in trial.ledger("east")]
    others = [(line["sequence"], line["step"], line["schema"]) for line in trial.ledger("north")]
    (caught_up,) = [line for line in trial.ledger("east") if line["schema"] == "acknowledgement"]
    assert (caught_up["sequence"], caught_up["step"]) == (number, step)
    assert (caught_up["shapes"], caught_up["bytes"]) == ({}, 0)
    kept = [line for line in lines if line[0] != number]
    assert kept == [line for line in others if line[0] != number]  # all else it answers as everybody does
    own = [line[2] for line in lines if line[0] == number]
    assert own == (["acknowledgement"] if fate == Fate.IS_AWAY else [others[number][2], "acknowledgement"])
    assert [line[0] for line in lines] == sorted(line[0] for line in lines)  # before it is asked anything else
    assert state[ANSWERED].all()
    assert trial.counted[Moment(number, 0, number)] == ("north", "south", "west")
    assert trial.counted[Moment(number + 1, 0, number)] == ("east",)


def test_who_missed_several_steps_catches_up_in_their_order(make_federation):
    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        return Fate.IS_AWAY if participant == "east" and moment.question < 5 else Fate.ANSWERS

    trial = Trial(make_federation(), fates)
    state = trial.run()
    found = [(line["step"], line["schema"]) for line in trial.ledger("east")]
    assert found == [
        ("normalise", "acknowledgement"),
        ("segregate", "acknowledgement"),
        ("label", "acknowledgement"),
        ("train", "model_update"),
        ("train", "model_update"),
        ("calibrate", "score_histogram"),
    ]
    known = {site.participant: site.state(int(state["sequence"])) for site in trial.federation.sites()}
    assert known["east"].keys() == known["north"].keys()
    np.testing.assert_array_equal(known["east"]["normaliser.mean"], known["north"]["normaliser.mean"])


def test_who_has_not_caught_up_is_asked_nothing_else(make_federation):
    """It is reached for questions alone, and what it missed never gets through to it."""

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        return Fate.IS_AWAY if participant == "east" and ask.step == "segregate" else Fate.ANSWERS

    trial = Trial(make_federation(), fates)
    trial.run()
    assert [line["step"] for line in trial.ledger("east")] == ["moments", "normalise"]
    later = [ask for moment, ask in trial.asked if moment.sequence > STEPS.index("segregate") and not ask.silent]
    assert len(later) == len(STEPS) - 3
    assert all(ask.targets == ("north", "south", "west") for ask in later)


def test_catching_up_does_not_leave_out_a_step_in_between(make_federation):
    """It misses two, and comes back while the second of them is asked again."""

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        away = moment.question in (1, 2) or (moment.question, ask.step) == (3, "normalise")
        return Fate.IS_AWAY if participant == "east" and away else Fate.ANSWERS

    trial = Trial(make_federation(), fates)
    state = trial.run()
    assert [line["step"] for line in trial.ledger("east")][:4] == ["moments", "normalise", "segregate", "label"]
    (east,) = [site for site in trial.federation.sites() if site.participant == "east"]
    assert "normaliser.mean" in east.state(int(state["sequence"]))


def test_a_step_that_may_be_missed_is_not_caught_up_on(make_federation):
    for step in ("moments", "calibrate"):
        trial = Trial(make_federation(), absent(step, "east"))
        trial.run()
        assert not any(ask.silent for _, ask in trial.asked)
        assert step not in [line["step"] for line in trial.ledger("east")]


@pytest.mark.parametrize(("missed", "stopped"), [("segregate", "label"), ("label", "train")])
def test_stopped_right_after_a_participant_has_caught_up(make_federation, missed, stopped):
    """It must still know the state from which the coordinator, which may remember nothing of that, asks it again."""
    fates = absent(missed, "east")
    expected = Trial(make_federation(), fates).run()
    stops = []

    def stop_once(moment: Moment, participant: str) -> None:
        if participant == "west" and moment.sequence == STEPS.index(stopped) and not stops:
            stops.append(moment)
            raise StoppedError

    trial = Trial(make_federation(), fates, on_answer=stop_once)
    assert_same(trial.run(), expected)
    assert len(stops) == 1


def test_too_few_replies_right_after_a_participant_has_caught_up(make_federation):
    """As above, but nobody was stopped: the step failed, and its answers count for nothing."""
    expected = Trial(make_federation(), absent("segregate", "east")).run()

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        if ask.step == "label" and not ask.silent and moment.attempt == 0 and participant != "east":
            return Fate.IS_AWAY
        return absent("segregate", "east")(moment, ask, participant)

    trial = Trial(make_federation(), fates, enough=False)
    assert_same(trial.run(), expected)
    assert trial.attempt == 1


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_after_too_few_replies_it_goes_on_as_if_nothing_had_been(make_federation, plain, number):
    step = STEPS[number]

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        if moment.question != number or moment.attempt:
            return Fate.ANSWERS
        return {"north": Fate.IS_AWAY, "south": Fate.IS_LOST, "east": Fate.ANSWERS, "west": Fate.IS_LOST}[participant]

    trial = Trial(make_federation(), fates, enough=False)
    with pytest.raises(TooFewRepliesError, match=f"step '{step}': 1 participants replied, 2 are needed"):
        trial.once()
    saved = trial.checkpoint.load()
    assert int(saved["sequence"]) == number
    assert saved["accepted"].tolist() == [number - 1] * 4
    assert_same(trial.once(), plain(), bytes_too=True)


def test_a_step_for_which_too_few_have_caught_up_is_asked_of_nobody(make_federation):
    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        behind = ask.step == "label" and (moment.attempt == 0 or moment.question == 4) and moment.attempt < 2
        return Fate.IS_AWAY if behind and participant in ("east", "west") else Fate.ANSWERS

    trial = Trial(make_federation(), fates, enough=False, quorum=Quorum(3))
    with pytest.raises(TooFewRepliesError, match="step 'label': 2 participants replied, 3 are needed"):
        trial.once()
    trial.quorum, trial.attempt = Quorum(2), 0
    trial.on_answer = stop_at_question(4)
    with pytest.raises(StoppedError):
        trial.once()
    trial.asked.clear()
    trial.quorum, trial.on_answer, trial.attempt = Quorum(3), lambda moment, participant: None, 1
    with pytest.raises(TooFewRepliesError, match="step 'train': 0 participants replied, 3 are needed"):
        trial.once()
    assert [(ask.step, ask.silent, ask.targets) for _, ask in trial.asked] == [("label", True, ("east", "west"))]
    trial.run()
    assert [line["schema"] for line in trial.ledger("west")].count("model_update") == ROUNDS


def stop_at_question(number: int) -> Callable[[Moment, str], None]:
    def stop(moment: Moment, participant: str) -> None:
        if moment.question == number:
            raise StoppedError

    return stop


def test_the_engine_is_told_how_many_to_wait_for_and_how_long(make_federation):
    trial = Trial(make_federation(), absent("label", "east"))
    trial.run()
    for moment, ask in trial.asked:
        assert ask.deadline == 7
        if ask.silent:
            assert (ask.targets, ask.reply, dict(ask.accepted)) == (("east",), "acknowledgement", {"east": 2})
        else:
            before = moment.sequence - 1
            assert (ask.targets, ask.min_replies, dict(ask.accepted)) == (SCENES, 2, dict.fromkeys(SCENES, before))
    patient = Trial(make_federation(), everybody_answers, quorum=Quorum())
    patient.run()
    assert all((ask.min_replies, ask.deadline) == (4, 0) for _, ask in patient.asked)


def test_a_question_may_say_itself_how_many_it_needs_and_how_long_it_waits(make_federation):
    trial = Trial(make_federation(), absent("moments", "east", "west"), enough=False)
    engine = LossyEngine(trial.federation.sites(), trial.fates, trial.checkpoint, enough=False)

    def steps(state: State) -> Steps:
        yield Ask("moments", "feature_moments", min_replies=3, deadline=1.5, lasting=False)

    with pytest.raises(TooFewRepliesError, match="step 'moments': 2 participants replied, 3 are needed"):
        coordinate(steps, engine, trial.checkpoint, 16, Quorum(2, 7.0))
    assert [(ask.min_replies, ask.deadline) for _, ask in engine.asked] == [(3, 1.5)]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (Ask("features", "segment_count"), "asked for the unknown step 'features'; refused"),
        (Ask("label", "model_update"), "step 'label' replies with 'segment_count', not with 'model_update'; refused"),
        (Ask("label", "features"), "step 'label' replies with 'segment_count', not with 'features'; refused"),
        (Ask("label", "acknowledgement"), "step 'label' replies with 'segment_count', not with 'acknowledgement'"),
    ],
)
def test_what_a_site_does_not_do_it_refuses(make_federation, ask, says):
    trial = Trial(make_federation(), everybody_answers)
    engine = LossyEngine(trial.federation.sites(), everybody_answers, trial.checkpoint)

    def steps(state: State) -> Steps:
        yield ask

    with pytest.raises(RefusalError, match=f"participant 'north': .*{says}"):
        coordinate(steps, engine, trial.checkpoint, 16)
    assert not trial.ledger("north")
    assert not any(site.state(99) for site in trial.federation.sites())
    with pytest.raises(RefusalError, match="unknown step"):
        trial.federation.sites()[0].handle(replace(ask, step="features", silent=True, reply="acknowledgement"))
