"""Secure aggregation of messages: what the coordinator learns is the fixed-point sum, and sites give nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shrunk import shrink_generator

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.partition import ensure_participants
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, Reply, SecureSum
from clap_vad.federation.checkpoint import Checkpoint, SiteState
from clap_vad.federation.conversation import Turn
from clap_vad.federation.coordinator import ANSWERED, coordinate
from clap_vad.federation.engine import Quorum, TooFewRepliesError
from clap_vad.federation.left_out import left_out
from clap_vad.federation.messages import schema, schemas
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.secure import SiteProtection, layout_of
from clap_vad.federation.site import Site
from clap_vad.federation.wire import ask_from_wire, ask_to_wire
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.specification.run import RunOptions
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.resolution import check_participants, resolve
from synthetic import SCENES, make_dataset, make_plan

NAMES = ("ada", "bob", "cyd", "dee", "eve", "fay")
DIM = 5
TOTAL = 1000


class Program:
    """Replies with a message of any schema that the test chose."""

    dim = DIM
    order = (Turn(("tell",), 9),)

    def __init__(self, name: str, message: dict) -> None:
        self.calls = 0
        self.steps = {"tell": (self._tell, name)}
        self._message = message

    def _tell(self, payload, state):
        self.calls += 1
        return self._message


def make_message(name: str, rng: np.random.Generator) -> dict:
    """A message that the schema allows; counts are a site's segments."""
    made = {}
    for key, field in schema(name).fields.items():
        shape = field.sizes(DIM)
        if field.dtype == "int64":
            made[key] = rng.integers(0, TOTAL // len(NAMES), shape)
        elif field.dtype == "int8":
            made[key] = rng.integers(-127, 128, shape).astype(np.int8)
        else:
            low = 0.0 if field.low == 0 else -1.0
            made[key] = rng.uniform(low, 1.0, shape).astype(field.dtype)
    return TRUE.get(name, lambda message, rng: message)(made, rng)


def summaries(message: dict, rng: np.random.Generator) -> dict:
    pairs = rng.uniform(-1.0, 1.0, (9, 2))
    return {"count": np.array(9), "unlabelled": np.array(4), "sum": pairs.sum(axis=0), "outer": pairs.T @ pairs}


def mixture(message: dict, rng: np.random.Generator) -> dict:
    share, pairs = rng.uniform(size=(len(message["likelihood"]), 9)), rng.uniform(-1.0, 1.0, (9, 2))
    weights = np.stack([share, 1 - share], axis=1)
    outer = np.einsum("rkv,vi,vj->rkij", weights, pairs, pairs)
    return {**message, "responsibility": weights.sum(axis=2), "sum": weights @ pairs, "outer": outer}


TRUE = {"summary_moments": summaries, "mixture_statistics": mixture}
"""Schemas whose numbers are bound to one another: made of rows."""


class Phases(InProcessEngine):
    """Sites of which some do not answer in a phase."""

    def __init__(self, sites, away: Callable[[str, str], bool]) -> None:
        super().__init__(sites)
        self._away = away

    def deliver(self, ask, check) -> list[Reply]:
        there = tuple(name for name in ask.targets if not self._away(ask.secure.phase, name))
        return super().deliver(replace(ask, targets=there), check)


def summed(tmp_path: Path, name: str, messages: dict[str, dict], away=lambda phase, site: False, quorum=None):
    """One question to sites that hold these messages: what the coordinator's steps are sent, and its final state."""
    sites = []
    for participant, message in messages.items():
        home = tmp_path / participant
        protection = SiteProtection(participant, tuple(messages), UnauthenticatedSigner(), 3)
        program = Program(name, message)
        sites.append(Site(participant, program, SiteState(home / "state"), home, protection=protection))
    got = []

    def steps(state):
        got.extend((yield Ask("tell", reply=name, lasting=False, total=TOTAL)))

    engine = Phases(sites, away)
    state = coordinate(steps, engine, Checkpoint(tmp_path), DIM, quorum or Quorum(3), secure=True)
    (reply,) = got
    return reply, state


def expected(name: str, messages: list[dict], participants: int) -> dict[str, np.ndarray]:
    """The fixed-point sum by integers of any size, and for means the quotient of it.

    Whole steps of 8 bits are a site's share already, and have no scale; their quotient stays float64.
    """
    layout, total = layout_of(name, DIM, participants), {}
    steps = {key for key, field in schema(name).fields.items() if field.dtype == "int8"}
    for entry in layout.entries:
        exponent = 0 if entry.name in steps else layout.point(entry.name).exponent
        whole = np.zeros(entry.shape, object)
        for message in messages:
            share = int(message["count"]) / TOTAL if schema(name).mean else 1.0
            value = {**message, "share": share, "clipped": 0}[entry.name]
            if schema(name).mean and entry.name not in ("count", "share", "clipped", *steps):
                value = (np.asarray(value, np.float64) * share).astype(entry.dtype)
            scaled = np.clip(np.asarray(value, np.float64), -entry.bound, entry.bound) * 2.0**exponent
            whole = whole + np.vectorize(int, otypes=[object])(np.rint(scaled))
        total[entry.name] = np.asarray(np.asarray(whole, object).astype(np.float64) / 2.0**exponent)
    shares = float(total.pop("share", 1.0))
    total.pop("clipped")
    return {
        key: (value if key == "count" else value / shares).astype(
            np.float64 if key in steps else schema(name).fields[key].dtype
        )
        for key, value in total.items()
    }


SUMMABLE = [declared.name for declared in schemas() if declared.summable and not declared.noised]


@pytest.mark.parametrize("name", SUMMABLE)
def test_the_steps_are_sent_the_fixed_point_sum_bit_for_bit(tmp_path, monkeypatch, name):
    shrink_generator(monkeypatch)
    rng = np.random.default_rng(1)
    messages = {participant: make_message(name, rng) for participant in NAMES}
    reply, state = summed(tmp_path, name, messages)
    wanted = expected(name, list(messages.values()), len(NAMES))
    assert reply.message.keys() == wanted.keys()
    for key, value in wanted.items():
        assert np.array_equal(reply.message[key], value), key
    assert int(state["clipped"]) == 0 and state[ANSWERED].all()


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_whoever_drops_out_in_whichever_phase_the_sum_is_of_those_that_delivered(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("drops")
    messages = {name: make_message("normal_moments", np.random.default_rng(i)) for i, name in enumerate(NAMES)}
    last = {}
    for name in data.draw(st.sets(st.sampled_from(NAMES), max_size=2)):
        last[name] = data.draw(st.sampled_from(["advertise", "share", "mask", "unmask"]))
    order = ["advertise", "share", "mask", "unmask"]

    def away(phase: str, name: str) -> bool:
        return name in last and order.index(phase) >= order.index(last[name])

    reply, state = summed(folder, "normal_moments", messages, away)
    delivered = [name for name in NAMES if last.get(name, "unmask") == "unmask"]
    wanted = expected("normal_moments", [messages[name] for name in delivered], len(NAMES))
    assert all(np.array_equal(reply.message[key], value) for key, value in wanted.items())
    assert [name for name, there in zip(NAMES, state[ANSWERED], strict=True) if there] == delivered
    assert [int(n) for n in state["accepted"]] == [0 if name in delivered else -1 for name in NAMES]


def test_too_few_in_a_phase_teach_nothing_and_it_can_be_asked_again(tmp_path):
    messages = {name: make_message("normal_moments", np.random.default_rng(i)) for i, name in enumerate(NAMES)}
    for phase in ("advertise", "share", "mask", "unmask"):
        with pytest.raises(TooFewRepliesError, match=f"phase '{phase}' of secure aggregation: 3 participants replied"):
            summed(tmp_path, "normal_moments", messages, lambda p, name, at=phase: p == at and name in NAMES[:3])
    reply, _ = summed(tmp_path, "normal_moments", messages)
    wanted = expected("normal_moments", list(messages.values()), len(NAMES))
    assert all(np.array_equal(reply.message[key], value) for key, value in wanted.items())


def liars_among(tmp_path, liars: int, optional: bool):
    """One question to the sites, of whom some hold an answer that their own exit refuses."""
    engine, got = [], []
    for number, participant in enumerate(NAMES):
        home = tmp_path / participant
        message = {"count": np.array(-1 if number < liars else 5)}
        protection = SiteProtection(participant, NAMES, UnauthenticatedSigner(), 3)
        program = Program("segment_count", message)
        engine.append(Site(participant, program, SiteState(home / "state"), home, protection=protection))

    def steps(state):
        got.append((yield Ask("tell", reply="segment_count", lasting=False, optional=optional)))

    state = coordinate(steps, InProcessEngine(engine), Checkpoint(tmp_path), DIM, Quorum(), secure=True)
    return got[0], left_out(state)


def test_a_masked_sum_is_opened_without_who_has_lied_or_not_at_all(tmp_path):
    """Six sites, of whom four must be there to open a sum that was begun; sites open no other of the same answers."""
    replies, out = liars_among(tmp_path / "two", 2, optional=False)
    assert [int(reply.message["count"]) for reply in replies] == [20]
    assert list(out) == list(NAMES[:2])
    replies, out = liars_among(tmp_path / "optional", 3, optional=True)
    assert (replies, list(out)) == ([], list(NAMES[:3]))
    with pytest.raises(ClapError, match=rf"step 'tell': its secure sum began over 6 sites.*'{NAMES[2]}': message"):
        liars_among(tmp_path / "three", 3, optional=False)


def test_what_is_beyond_its_bound_is_clipped_and_counted(tmp_path):
    messages = {name: make_message("model_update", np.random.default_rng(i)) for i, name in enumerate(NAMES)}
    bound = schema("model_update").fields["update.layer2.bias"].bound
    messages["bob"]["count"] = TOTAL
    messages["bob"]["update.layer2.bias"] = messages["bob"]["update.layer2.bias"].copy()
    messages["bob"]["update.layer2.bias"][:3] = (2 * bound, -3 * bound, bound)
    reply, state = summed(tmp_path, "model_update", messages)
    assert int(state["clipped"]) == 2
    wanted = expected("model_update", list(messages.values()), len(NAMES))
    assert np.array_equal(reply.message["update.layer2.bias"], wanted["update.layer2.bias"])


def test_the_ledger_tells_what_was_masked_and_what_the_protocol_itself_sent(tmp_path):
    messages = {name: make_message("normal_moments", np.random.default_rng(i)) for i, name in enumerate(NAMES)}
    summed(tmp_path, "normal_moments", messages)
    lines = [json.loads(line) for line in (tmp_path / "ada" / "ledger.jsonl").read_text().splitlines()]
    assert [(line["schema"], line["protection"]) for line in lines] == [
        ("secure_keys", "none"),
        ("secure_shares", "none"),
        ("normal_moments", "masked"),
        ("secure_unmasking", "none"),
    ]
    assert lines[2]["shapes"].keys() == {"narrow", "wide"}


SUM = SecureSum("0-x", "advertise", "normal_moments", NAMES)


def protected(tmp_path: Path, name: str = "normal_moments", cohort: int = 3, policy: Policy | None = None) -> Site:
    protection = SiteProtection("ada", NAMES, UnauthenticatedSigner(), cohort)
    program = Program(name, make_message(name, np.random.default_rng(0)))
    return Site("ada", program, SiteState(tmp_path), tmp_path, policy, protection)


def phase(**changes) -> Ask:
    return Ask("tell", reply="secure_keys", secure=replace(SUM, **changes))


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (Ask("tell", reply="normal_moments"), "'normal_moments' without masks; refused"),
        (phase(participants=(*NAMES, "gus")), "over sites that are not participants"),
        (phase(participants=NAMES[1:]), "over sites that are not participants"),
        (phase(cohort=2), "this site's policy asks for 3"),
        (phase(schema="normal_gaussian"), "'normal_gaussian' is not summable, so masks cannot hide it"),
        (phase(phase="share"), "the secrets of this secure sum are lost"),
        (phase(phase="mask"), "whose question differs from the one that it began with"),
        (phase(phase="guess"), "the secrets of this secure sum are lost"),
    ],
)
def test_a_site_in_a_protected_run_refuses(tmp_path, ask, says):
    with pytest.raises((ClapError, KeyError), match=says):
        protected(tmp_path).handle(ask)
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_sum_cannot_change_under_way(tmp_path):
    site = protected(tmp_path)
    site.handle(phase())
    with pytest.raises(RefusalError, match="differs from the one that it began as"):
        site.handle(phase(total=7))


def test_no_two_sums_have_one_name(tmp_path):
    site = protected(tmp_path)
    site.handle(phase())
    site.handle(phase(identity="1-y"))
    with pytest.raises(RefusalError, match="whose name was used before"):
        site.handle(phase())


def test_a_site_whose_policy_asks_for_more_sites_or_forbids_the_schema_refuses(tmp_path):
    with pytest.raises(RefusalError, match="this site's policy asks for 5"):
        protected(tmp_path, cohort=5).handle(phase())
    with pytest.raises(RefusalError, match="'normal_moments' is outside this site's policy"):
        protected(tmp_path, policy=Policy(("model_update", "secure_keys"))).handle(phase())


def test_a_site_in_an_open_run_gives_nothing_to_a_secure_sum(tmp_path):
    program = Program("normal_moments", make_message("normal_moments", np.random.default_rng(0)))
    site = Site("ada", program, SiteState(tmp_path), tmp_path)
    with pytest.raises(RefusalError, match="does not use secure aggregation"):
        site.handle(phase())
    with pytest.raises(RefusalError, match="under masks; refused in this run"):
        site.handle(phase(phase="mask"))
    assert program.calls == 0


def test_a_question_of_a_secure_sum_comes_out_of_the_wire_as_it_went_in():
    ask = replace(phase(total=9, cohort=4), sequence=3)
    assert ask_from_wire(*ask_to_wire(ask)) == ask
    line, payload = ask_to_wire(ask)
    for change in (
        {"phase": 3},
        {"participants": "ada"},
        {"participants": [1]},
        {"total": -1},
        {"steps": 1},
        {"more": 1},
    ):
        broken = json.loads(line)
        broken["secure"] |= change
        with pytest.raises(ClapError, match="a question of a secure sum"):
            ask_from_wire(json.dumps(broken), payload)


CASES = {
    "clap-pooled": ("clap", {"density": "pooled", "refine_from": 1}, "fedavg", {}),
    "clap-federated": ("clap", {"segregation": "federated", "refine_from": 1}, "fedadam", {}),
    "c2fpl-scaffold": ("c2fpl", {"momentum": 0.0}, "scaffold", {}),
    "c2fpl-drawn": ("c2fpl", {}, "fedavg", {"fraction": 0.75}),
}


@pytest.mark.parametrize("case", CASES)
def test_runs_under_masks_give_the_model_of_bare_runs_but_for_fixed_point(tmp_path, case):
    """Not tried with gcl: RMSprop and its thresholds make steps of full size out of differences of any."""
    name, options, strategy, changes = CASES[case]
    dataset = Dataset(make_dataset(tmp_path / "data", test=False))
    held = ensure_participants(dataset, "scene", 0).videos
    assert tuple(sorted(held)) == tuple(sorted(SCENES))
    states = {}
    for secure in (False, True):
        plan = make_plan(strategy, normalise="federated", secure=secure, participants=tuple(held), **changes)
        federation = Federation(tmp_path / str(secure), dataset, held, plan, make_method(name, options))
        states[secure] = federation.run()
    weights = [key for key in states[True] if key.startswith("weights.")]
    assert weights
    for key in weights:
        assert np.abs(states[True][key] - states[False][key]).max() < 2e-5, key
    assert np.array_equal(states[True]["score_histogram"].sum(), states[False]["score_histogram"].sum())
    for participant in held:
        lines = (tmp_path / "True" / "sites" / participant / "ledger.jsonl").read_text().splitlines()
        for line in map(json.loads, lines):
            assert line["protection"] == "masked" or schema(line["schema"]).bare


def test_what_cannot_be_hidden_is_refused_before_the_run():
    def check(participants: int, method: str = "c2fpl", **changes: Any) -> None:
        spec = resolve(RunOptions(method=method, secure_aggregation=True, **changes), noise_seed=0)
        check_participants(spec, participants)

    with pytest.raises(ClapError, match="--segregation federated or --density pooled"):
        check(5, "clap")
    for name in ("median", "trimmed-mean", "multi-krum"):
        with pytest.raises(ClapError, match="needs single updates"):
            check(5, strategy=name)
    with pytest.raises(ClapError, match="a sum over 2 participants hides none"):
        check(5, fraction=0.4)
    check(3, "clap", options={"density": "pooled"})
