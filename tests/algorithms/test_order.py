"""Every method's site answers what its own coordinator asks in an honest run, once, and in no other order.

A method that is new in its folder is tried as it stands; only variants are listed here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shrunk import shrink_generator

from clap_vad.algorithms.method import METHODS, make_method
from clap_vad.core.statistics.accounting import calibrated
from clap_vad.datasets.dataset import Dataset
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.federation.ask import Ask, Reply
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.conversation import NOTES, Turn
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check
from clap_vad.federation.exit.write_ledger import LEDGER
from clap_vad.federation.messages import Message
from clap_vad.federation.policy import RefusalError
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation
from synthetic import comet_terms, make_dataset, make_plan

ROUNDS = 3
FEDERATED = {"segregation": "federated"}
TERMS = partial(calibrated, 8.0, 1e-5, clip=1.0, sampling=1.0, lr=0.1, statistics=9, seed=1)
PRIVATE = {"privacy": partial(TERMS, rounds=ROUNDS)}
COMET = {"privacy": partial(comet_terms, ROUNDS, epsilon=8.0)}
SECURE = {"secure": True}
CASES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    **{name: (name, {}, "fedavg", COMET if name == "comet" else {}) for name in METHODS.names()},
    "comet-secure": ("comet", {}, "fedavg", {**SECURE, **COMET}),
    "comet-video": ("comet", {}, "fedavg", {"privacy": partial(comet_terms, ROUNDS, epsilon=8.0, unit="video")}),
    "comet-without-noise": ("comet", {}, "fedavg", {"privacy": partial(comet_terms, ROUNDS)}),
    **{f"{name}-int8": (name, {}, "fedavg", {"update_encoding": "int8"}) for name in ("c2fpl", "gcl")},
    "clap-federated": ("clap", FEDERATED, "fedavg", {}),
    "clap-federated-secure": ("clap", FEDERATED, "fedavg", SECURE),
    "clap-private": ("clap", FEDERATED, "fedavg", PRIVATE),
    "clap-drawn": ("clap", {}, "fedavg", {"fraction": 0.5}),
    "c2fpl-scaffold": ("c2fpl", {}, "scaffold", {}),
    "c2fpl-as-they-are": ("c2fpl", {}, "fedavg", {"normalise": "none"}),
    "gcl-not-pretrained": ("gcl", {"pretrain_rounds": 0}, "fedavg", {}),
    "no-rounds": ("clap", {}, "fedavg", {"rounds": 0}),
}
ODD_NUMBERS = (-5, 0, ROUNDS + 1000, 1.0, np.float64("nan"), np.array([1]), np.array("one"), True, None)


@pytest.fixture(scope="module", autouse=True)
def small_generator() -> Iterator[None]:
    """GCL is quick."""
    with pytest.MonkeyPatch.context() as patch:
        shrink_generator(patch)
        yield


class Overhearing(InProcessEngine):
    """Keeps what one participant is asked, and what it answers."""

    def __init__(self, sites: list[Site]) -> None:
        super().__init__(sites)
        self.name, self.heard = sites[0].participant, list[tuple[Ask, Message]]()

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        replies = super().deliver(ask, check)
        self.heard += [(ask, reply.message) for reply in replies if reply.participant == self.name]
        return replies


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, test=False))


@pytest.fixture(params=CASES)
def honest(request, tmp_path, dataset) -> tuple[Federation, list[tuple[Ask, Message]]]:
    """A federation that has not begun, and what an honest run asked its first participant elsewhere."""
    name, options, strategy, changes = CASES[request.param]
    changes = {key: value() if callable(value) else value for key, value in changes.items()}
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south", "east")}
    given = {"rounds": ROUNDS, "normalise": "federated", "participants": tuple(held), **changes}
    plan, method = make_plan(strategy, **given), make_method(name, options)
    made = [Federation(tmp_path / folder, dataset, held, plan, method) for folder in ("honest", "asked")]
    engine = Overhearing(made[0].sites())
    steps = partial(method.coordinate, plan, log=lambda record: None)
    modes = {"secure": plan.spec.secure_aggregation, "update_encoding": plan.spec.update_encoding}
    coordinate(steps, engine, Checkpoint(tmp_path / "honest"), plan.dim, **modes)
    return made[1], engine.heard


def refused(site: Site, ask: Ask, says: str | None = None) -> None:
    """The question is refused in one sentence, and nothing leaves."""
    ledger = site.folder / LEDGER
    before = ledger.read_bytes() if ledger.exists() else b""
    with pytest.raises(RefusalError, match=says) as told:
        site.handle(ask)
    assert "\n" not in str(told.value)
    assert (ledger.read_bytes() if ledger.exists() else b"") == before


def same(one: Message, other: Message) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def turn_of(site: Site, step: str) -> Turn:
    return next(turn for turn in site.program.order if step in turn.steps)


def plain(heard: list[tuple[Ask, Message]]) -> list[tuple[Ask, Message]]:
    """Without the phases of masks, which have an order of their own."""
    return [(ask, message) for ask, message in heard if ask.secure is None]


def test_an_honest_run_keeps_the_order_that_its_method_declares(honest):
    federation, heard = honest
    site = federation.sites()[0]
    asked = [ask for ask, _ in heard if ask.secure is None or ask.secure.phase == "mask"]
    declared = [step for turn in site.program.order for step in turn.steps]
    assert set(declared) <= site.program.steps.keys()
    assert len(declared) == len(set(declared))
    places = [declared.index(ask.step) for ask in asked]
    assert places == sorted(places)
    for turn in site.program.order:
        questions = [ask for ask in asked if ask.step in turn.steps]
        assert len(questions) <= turn.most
        assert turn.lasting <= bool(questions)
        if turn.most < 100 and federation.plan.spec.fraction == 1:  # each may be asked as often as it is, and no more
            assert len(questions) == turn.most


def test_after_every_question_nothing_but_what_comes_next_is_answered(honest):
    federation, heard = honest
    site, last = federation.sites()[0], max(ask.sequence for ask, _ in heard)
    if federation.plan.spec.secure_aggregation:
        pytest.skip("its sites answer in no other way than together; see below")
    for place, (ask, message) in enumerate(heard):
        for after, _ in heard[place + 1 :]:
            between = [other for other, _ in heard[place:] if other.sequence < after.sequence]
            if any(turn_of(site, other.step).lasting for other in between) and after.step != ask.step:
                refused(site, replace(after, accepted={}), "before")
        found = site.handle(ask)
        assert federation.plan.spec.privacy is not None or same(found, message)
        assert same(found, site.handle(ask))  # as a coordinator asks that was killed
        assert same(found, federation.sites()[0].handle(ask))  # another process, too
        later = {"sequence": last + 1 + place, "accepted": {site.participant: ask.sequence}}
        if turn_of(site, ask.step).most == 1:
            refused(site, replace(ask, **later), "more than 1 time, which is all that this run needs")
            refused(site, replace(ask, payload={**ask.payload, "more": 1}), "more than 1 time")
        for before, _ in heard[:place]:
            if before.step != ask.step:
                refused(site, replace(before, **later), "after")
                refused(federation.sites()[0], replace(before, **later, payload={"more": 1}))
    for step, (_, schema) in site.program.steps.items():
        refused(site, Ask(step, schema, heard[-1][0].payload, sequence=last + 99, accepted={site.participant: last}))
    for ask, _ in heard:
        refused(site, replace(ask, sequence=last + 99))
        refused(site, replace(ask, sequence=last + 99, accepted={}))


def test_rounds_are_whole_numbers_that_rise(honest):
    federation, heard = honest
    if federation.plan.spec.secure_aggregation:
        pytest.skip("as without masks")
    site = federation.sites()[0]
    for ask, _ in plain(heard):
        turn = turn_of(site, ask.step)
        if turn.counter:
            known = {key: value for key, value in ask.payload.items() if key != turn.counter}
            for number in (number for number in ODD_NUMBERS if not (turn.first == 0 and number in (0, None))):
                payload = known if number is None else {**known, turn.counter: number}
                refused(site, replace(ask, payload=payload, sequence=99))
            site.handle(ask)
            if turn.counter in ask.payload:
                refused(site, replace(ask, sequence=99), "rise|more than")
        else:
            site.handle(ask)


def test_a_site_answers_no_round_for_which_it_is_not_drawn(tmp_path, dataset):
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south", "east")}
    for method in ("clap", "comet"):
        plan, made = make_plan(rounds=8, normalise="federated", fraction=0.4), make_method(method, {})
        federation = Federation(tmp_path / method, dataset, held, plan, made)
        drawn = {number: federation.agreed.drawn(number) for number in range(1, 9)}
        for site in federation.sites():
            (turn,) = (turn for turn in site.program.order if turn.counter)
            for number, names in drawn.items():
                ask = Ask(turn.steps[0], "", {"round": number})
                if site.participant in names:
                    assert turn.number(ask) == number
                else:
                    with pytest.raises(RefusalError, match=f"this site is not drawn for round {number}; refused"):
                        turn.number(ask)
        assert len(set(drawn.values())) > 1


def test_notes_that_were_lost_are_no_fresh_start(honest):
    federation, heard = honest
    if federation.plan.spec.secure_aggregation:
        pytest.skip("as without masks")
    site = federation.sites()[0]
    for ask, _ in heard[:3]:
        site.handle(ask)
    (site.folder / NOTES).unlink()
    refused(federation.sites()[0], heard[3][0], "questions.jsonl of this run is missing")


def test_under_masks_a_site_answers_a_question_for_one_sum_alone(tmp_path, dataset):
    """Two sums of the same answers, over cohorts that differ by one site, would leave that site bare."""
    held = {
        site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south", "east", "west")
    }
    plan = make_plan(rounds=1, participants=tuple(held), secure=True)
    federation = Federation(tmp_path / "run", dataset, held, plan, make_method("c2fpl", {}))
    sites = federation.sites()

    def label(names: tuple[str, ...], sequence: int = 0) -> None:
        """The coordinator's own code, in a folder that knows of no sum before."""
        engine = InProcessEngine([site for site in sites if site.participant in names])
        folder = Path(tmp_path / "-".join((*names, str(sequence))))

        def steps(state):
            state["sequence"] = np.array(sequence)
            yield Ask("label", reply="segment_count")

        coordinate(steps, engine, Checkpoint(folder), plan.dim, secure=True)

    label(("north", "south", "east"))
    with pytest.raises(RefusalError, match="asked before, for a sum over other sites; refused"):
        label(("north", "south", "east", "west"))
    with pytest.raises(RefusalError, match="more than 1 time"):
        label(("north", "south", "east", "west"), 1)
    label(("north", "south", "east"))


# What is sent.


def asked_before(federation: Federation, heard: list[tuple[Ask, Message]], step: str) -> tuple[Site, Ask]:
    """A site that has answered all that came before a step, and the question."""
    site = federation.sites()[0]
    for ask, _ in heard:
        if ask.step == step:
            return site, ask
        site.handle(ask)
    raise AssertionError(step)


@pytest.fixture
def run_of(tmp_path, dataset):
    def make(method: str, **changes: Any) -> tuple[Federation, list[tuple[Ask, Message]]]:
        held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south", "east")}
        plan = make_plan(rounds=1, normalise="federated", participants=tuple(held), **changes.pop("plan", {}))
        made = make_method(method, changes)
        found = [Federation(tmp_path / folder, dataset, held, plan, made) for folder in ("honest", "asked")]
        engine = Overhearing(found[0].sites())
        steps = partial(made.coordinate, plan, log=lambda record: None)
        coordinate(steps, engine, Checkpoint(tmp_path / "h"), plan.dim)
        return found[1], engine.heard

    return make


CONSTANTS = {
    "not a number": lambda mean, scale: (mean * np.float32("nan"), scale),
    "infinite": lambda mean, scale: (mean, scale * np.float32("inf")),
    "negative": lambda mean, scale: (mean, -scale),
    "huge": lambda mean, scale: (mean, np.full_like(scale, 3e38)),
    "of one dimension": lambda mean, scale: (mean, scale * np.where(np.arange(len(scale)) == 3, 1e4, 1).astype("f4")),
    "nothing": lambda mean, scale: (mean, scale * np.float32(0)),
    "one scaled to nothing": lambda mean, scale: (mean, np.where(np.arange(len(scale)) == 3, 0, scale).astype("f4")),
    "far": lambda mean, scale: (mean + np.float32(1e5), scale),
    "of another size": lambda mean, scale: (mean[1:], scale[1:]),
    "a table": lambda mean, scale: (mean[None], scale[None]),
    "text": lambda mean, scale: (np.array(["a"] * len(mean)), scale),
    "float64": lambda mean, scale: (mean.astype(np.float64), scale),
    "missing": lambda mean, scale: (None, scale),
}


@pytest.mark.parametrize("lie", CONSTANTS)
def test_constants_of_a_normalisation_that_none_could_be_are_refused(run_of, lie):
    site, ask = asked_before(*run_of("c2fpl"), "normalise")
    mean, scale = CONSTANTS[lie](ask.payload["mean"], ask.payload["scale"])
    payload = {"mean": mean, "scale": scale}
    refused(site, replace(ask, payload={key: value for key, value in payload.items() if value is not None}))
    refused(site, ask, "more than 1 time")  # a refusal tells something of the data, so it counts


GAUSSIANS = {
    "text": np.array([["a", "b", "c"]]),
    "of other numbers": np.ones((1, 4)),
    "one row": np.ones(3),
    "not a number": np.array([[1.0, np.nan, 1.0]]),
    "negative": np.array([[-1.0, 1.0, 1.0]]),
    "of negative variance": np.array([[1.0, 1.0, -1.0]]),
    "nobody": np.zeros((0, 3)),
}


@pytest.mark.parametrize("lie", GAUSSIANS)
@pytest.mark.parametrize("private", [False, True])
def test_a_common_density_that_is_none_is_refused(run_of, lie, private):
    plan = {"plan": {"privacy": TERMS(rounds=1)}, **FEDERATED} if private else {}
    site, ask = asked_before(*run_of("clap", **plan), "label")
    refused(site, replace(ask, payload={"gaussians": GAUSSIANS[lie]}), "'gaussians'")


MODELS = {
    "text": lambda w: np.full(w.shape, "a"),
    "not finite": lambda w: np.full_like(w, np.inf),
    "float64": lambda w: w.astype(np.float64),
}


@pytest.mark.parametrize("lie", MODELS)
@pytest.mark.parametrize("entry", ["weights.layer2.bias", "control.layer2.bias"])
@pytest.mark.parametrize("step", ["train", "calibrate"])
def test_a_model_that_is_none_is_refused(run_of, lie, entry, step):
    if step == "calibrate" and entry.startswith("control"):
        pytest.skip("no such entry")
    site, ask = asked_before(*run_of("c2fpl", plan={"strategy": "scaffold"}, momentum=0.0), step)
    value = np.asarray(ask.payload[entry])
    refused(site, replace(ask, payload={**ask.payload, entry: MODELS[lie](value)}), f"'{entry}' is not")


MIXTURES = {"text": np.array("a"), "of another shape": np.zeros((2, 2, 2, 2, 2)), "far": np.full(2, 1e9)}


@pytest.mark.parametrize("entry", ["mean", "scale", "weights", "means", "covariances", "normal"])
@pytest.mark.parametrize("lie", MIXTURES)
@pytest.mark.parametrize("step", ["mixture", "segregate"])
def test_a_mixture_that_is_none_is_refused(run_of, entry, lie, step):
    site, ask = asked_before(*run_of("clap", **FEDERATED), step)
    if entry in ask.payload:
        refused(site, replace(ask, payload={**ask.payload, entry: MIXTURES[lie]}), "refused")


def test_the_record_of_questions_reveals_no_reply(run_of):
    """The file at the site has digests that nobody else can make: a count could be found by trying all."""
    federation, heard = run_of("c2fpl")
    notes = []
    for _ in range(2):
        site = federation.sites()[0]
        for ask, _ in heard:
            site.handle(ask)
        notes.append([json.loads(line) for line in (site.folder / NOTES).read_text().splitlines()])
        for name in (NOTES, "privacy.key", "ledger.jsonl"):
            (site.folder / name).unlink()
    first, second = ([note["answer"] for note in found if "answer" in note] for found in notes)
    assert len(first) == len(second) == len(heard)
    assert not set(first) & set(second)
    assert [note["question"] for note in notes[0]] == [note["question"] for note in notes[1]]
