"""A site's own rules: what is written is read again, what is malformed is told, what is outside them never happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask
from clap_vad.federation.checkpoint import SiteState
from clap_vad.federation.conversation import Turn
from clap_vad.federation.messages import schemas
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.site import Site

NAMES = tuple(schema.name for schema in schemas())
FIRST = {
    "format": 1,
    "schemas": ["segment_count", "model_update"],
    "minimum_cohort": 3,
    "maximum_rounds": 50,
    "maximum_epsilon": None,
    "require_secure_aggregation": False,
}
WHOLE = {
    **FIRST,
    "format": 2,
    "allow_exact_sums": False,
    "maximum_questions": {},
    "maximum_spent": {unit: dict.fromkeys(("run", "year", "ever")) for unit in ("video", "crop")},
}


class Counting:
    """A site program that notes what it was made to do."""

    dim = 4
    order = (Turn(("count", "describe"), 9),)

    def __init__(self) -> None:
        self.done: list[str] = []
        self.steps = {"count": (self._count, "segment_count"), "describe": (self._describe, "features_description")}

    def _count(self, payload: dict, state: dict) -> dict:
        self.done.append("count")
        state["counted"] = np.array(True)
        return {"count": 7}

    def _describe(self, payload: dict, state: dict) -> dict:
        self.done.append("describe")
        return {"description": np.zeros(4096, np.uint8)}


def make_site(tmp_path: Path, policy: Policy) -> tuple[Site, Counting]:
    program = Counting()
    site = Site("camera-01", program, SiteState(tmp_path / "state"), tmp_path, policy)
    return site, program


@pytest.mark.parametrize(
    "policy",
    [
        Policy(NAMES, 1, 1),
        Policy((), 2, 20, 0.5),
        Policy(("model_update", "segment_count"), 10, 1_000_000, 3),
        Policy(("acknowledgement",), 1, 7, 1e-9),
        Policy(NAMES, maximum_questions={"model_update": {"run": 20, "ever": 0}, "segment_count": {"year": 1}}),
        Policy(NAMES, maximum_spent={"video": {"run": 4, "year": 8.5}, "crop": {"ever": 1}}),
    ],
)
def test_what_is_written_is_read_again(tmp_path, policy):
    policy.write(tmp_path / "policy.json")
    assert Policy.read(tmp_path / "policy.json") == policy


def test_a_policy_without_limits_is_written_with_every_schema_by_name(tmp_path):
    Policy(minimum_cohort=2, maximum_rounds=9).write(tmp_path / "policy.json")
    assert Policy.read(tmp_path / "policy.json") == Policy(NAMES, 2, 9)
    content = json.loads((tmp_path / "policy.json").read_text())
    assert content == {**WHOLE, "schemas": list(NAMES), "minimum_cohort": 2, "maximum_rounds": 9}


def test_the_policy_of_the_defaults_is_read_again_too(tmp_path):
    Policy().write(tmp_path / "policy.json")
    assert Policy.read(tmp_path / "policy.json") == Policy(NAMES)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in WHOLE.items() if key != name}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("", "not valid JSON"),
        ('{"format": 1', "line 1: not valid JSON"),
        ("[" * 100_000, "this JSON cannot be read"),
        (b"\xff\xfe{}", "not a UTF-8 text file"),
        ([], "not a site's policy; correct it"),
        ("null", "not a site's policy; correct it"),
        ({}, "the entry 'format' is missing"),
        *[(without(name), f"the entry '{name}' is missing") for name in FIRST],
        ({**WHOLE, "comment": "ours"}, "'comment' is not an entry of a site's policy; remove it"),
        ({**WHOLE, "format": 3}, "not a site's policy of this release: its format is"),
        ({**WHOLE, "format": 0}, "not a site's policy of this release: its format is"),
        ({**FIRST, "maximum_spent": {}}, "format 1 has no entry 'maximum_spent'; make it format 2"),
        ({**FIRST, "maximum_questions": {}}, "format 1 has no entry 'maximum_questions'; make it format 2"),
        ({**WHOLE, "maximum_questions": None}, "'maximum_questions' must be {schema: {run, year, ever: "),
        (
            {**WHOLE, "maximum_questions": {"model_update": 3}},
            "'maximum_questions' must be {schema: {run, year, ever: ",
        ),
        ({**WHOLE, "maximum_questions": {"magic": {"run": 3}}}, "'maximum_questions' names magic; known are"),
        (
            {**WHOLE, "maximum_questions": {"model_update": {"day": 3}}},
            "; look at 'maximum_questions.model_update.day'",
        ),
        ({**WHOLE, "maximum_questions": {"model_update": {"run": 2.5}}}, "a whole number from 0, or null"),
        ({**WHOLE, "maximum_questions": {"model_update": {"run": -1}}}, "a whole number from 0, or null"),
        ({**WHOLE, "maximum_questions": {"model_update": {"run": True}}}, "a whole number from 0, or null"),
        ({**WHOLE, "maximum_spent": 8}, "'maximum_spent' must be"),
        (
            {**WHOLE, "maximum_spent": {"person": {"ever": 8}}},
            "; look at 'maximum_spent.person'",
        ),
        ({**WHOLE, "maximum_spent": {"video": {"ever": 0}}}, "a number above 0, or null"),
        ({**WHOLE, "maximum_spent": {"video": {"ever": "8"}}}, "a number above 0, or null"),
        ({**WHOLE, "maximum_spent": {"video": {"ever": float("inf")}}}, "a number above 0, or null"),
        ({**WHOLE, "maximum_spent": {"video": {"ever": True}}}, "a number above 0, or null"),
        ({**WHOLE, "format": "1"}, "its format is '1', and this release reads 1 or 2"),
        ({**WHOLE, "schemas": None}, "'schemas' must be a list of names"),
        ({**WHOLE, "schemas": "model_update"}, "'schemas' must be a list of names"),
        ({**WHOLE, "schemas": {"model_update": True}}, "'schemas' must be a list of names"),
        ({**WHOLE, "schemas": ["model_update", 3]}, "'schemas' must be a list of names"),
        ({**WHOLE, "schemas": ["model_update", ["x"]]}, "'schemas' must be a list of names"),
        ({**WHOLE, "schemas": ["model_update", "videos", "a"]}, "'schemas' names a, videos; known are acknowledgement"),
        ({**WHOLE, "minimum_cohort": 0}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "minimum_cohort": -3}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "minimum_cohort": 2.0}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "minimum_cohort": True}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "minimum_cohort": None}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "minimum_cohort": "3"}, "'minimum_cohort' must be a whole number from 1"),
        ({**WHOLE, "maximum_rounds": 0}, "'maximum_rounds' must be a whole number from 1"),
        ({**WHOLE, "maximum_rounds": 1.5}, "'maximum_rounds' must be a whole number from 1"),
        ({**WHOLE, "maximum_rounds": [20]}, "'maximum_rounds' must be a whole number from 1"),
        ({**WHOLE, "require_secure_aggregation": 1}, "'require_secure_aggregation' must be true or false"),
        ({**WHOLE, "maximum_epsilon": 0}, "'maximum_epsilon' must be a number above 0, or null for no bound"),
        ({**WHOLE, "maximum_epsilon": -0.5}, "'maximum_epsilon' must be a number above 0"),
        ({**WHOLE, "maximum_epsilon": "1"}, "'maximum_epsilon' must be a number above 0"),
        ({**WHOLE, "maximum_epsilon": True}, "'maximum_epsilon' must be a number above 0"),
        ({**WHOLE, "maximum_epsilon": float("nan")}, "'maximum_epsilon' must be a number above 0"),
    ],
)
def test_a_malformed_policy_is_told_in_one_sentence_that_names_the_file(tmp_path, content, says):
    file = tmp_path / "policy.json"
    if content is not None:
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ClapError) as told:
        Policy.read(file)
    sentence = str(told.value)
    assert sentence.startswith(f"{file}: ")
    assert says in sentence
    assert "\n" not in sentence
    assert not isinstance(told.value, RefusalError)  # it names a file, so nobody else may be told


def test_the_whole_policy_that_the_malformed_ones_come_from_is_read(tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(WHOLE))
    assert Policy.read(tmp_path / "policy.json") == Policy(("segment_count", "model_update"), 3, 50)


@pytest.mark.parametrize("content", [FIRST, {**FIRST, "format": 2}], ids=["format 1", "format 2 without bounds"])
def test_a_policy_without_bounds_over_runs_is_read_as_one_that_sets_none(tmp_path, content):
    """Those that sites have made by releases before there were such bounds stay in force as they are."""
    (tmp_path / "policy.json").write_text(json.dumps(content))
    policy = Policy.read(tmp_path / "policy.json")
    assert policy == Policy(("segment_count", "model_update"), 3, 50)
    assert (policy.maximum_questions, policy.maximum_spent) == ({}, {})


def test_a_bound_of_null_is_none(tmp_path):
    content = {**WHOLE, "maximum_questions": {"model_update": {"run": None, "year": 7}}}
    (tmp_path / "policy.json").write_text(json.dumps(content))
    assert Policy.read(tmp_path / "policy.json").maximum_questions == {"model_update": {"year": 7}}


def test_a_schema_outside_the_policy_is_refused_before_the_step_runs(tmp_path):
    site, program = make_site(tmp_path, Policy(tuple(name for name in NAMES if name != "segment_count")))
    with pytest.raises(RefusalError, match="schema 'segment_count' is outside this site's policy"):
        site.handle(Ask("count", "segment_count"))
    assert program.done == []
    assert not (tmp_path / "ledger.jsonl").exists()
    assert not site.state(99)
    site.handle(Ask("describe", "features_description"))
    assert program.done == ["describe"]


def test_nothing_leaves_where_no_schema_is_permitted(tmp_path):
    site, program = make_site(tmp_path, Policy(()))
    for step, reply in (("count", "segment_count"), ("describe", "features_description")):
        with pytest.raises(RefusalError):
            site.handle(Ask(step, reply))
    assert (program.done, (tmp_path / "ledger.jsonl").exists()) == ([], False)


@pytest.mark.parametrize(("allowed", "done"), [(("acknowledgement",), ["count"]), (("segment_count",), [])])
def test_of_a_silent_question_only_the_acknowledgement_must_be_permitted(tmp_path, allowed, done):
    site, program = make_site(tmp_path, Policy(allowed))
    if done:
        assert site.handle(Ask("count", "acknowledgement", silent=True)) == {}
    else:
        with pytest.raises(RefusalError, match="schema 'acknowledgement' is outside this site's policy"):
            site.handle(Ask("count", "acknowledgement", silent=True))
    assert program.done == done


def test_rounds_beyond_the_policy_are_refused_before_the_step_runs(tmp_path):
    site, program = make_site(tmp_path, Policy(maximum_rounds=3))
    for number in (1, 3, np.array(3)):
        site.handle(Ask("count", "segment_count", {"round": number}))
    before = (tmp_path / "ledger.jsonl").read_text()
    for number in (4, 1000, np.array(4)):
        with pytest.raises(RefusalError, match=f"{number} rounds; this site's policy permits 3"):
            site.handle(Ask("count", "segment_count", {"round": number}))
    assert program.done == ["count"] * 3
    assert (tmp_path / "ledger.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("policy", "run", "says"),
    [
        (Policy(minimum_cohort=3), (2, 10, None), "a run of 2 participants; this site's policy asks for 3"),
        (Policy(maximum_rounds=9), (5, 10, None), "10 rounds; this site's policy permits 9"),
        (Policy(require_secure_aggregation=True), (5, 10, None), "a run without secure aggregation"),
        (
            Policy(maximum_epsilon=2),
            (5, 10, 1.0, True, "crop"),
            "epsilon 1 for a crop, none for a video; .* asks for epsilon 2 at most",
        ),
        (Policy(maximum_epsilon=2), (5, 10, None), "a run with no differential privacy; .* asks for epsilon 2 at most"),
        (
            Policy(maximum_epsilon=0.5),
            (5, 10, 0.75),
            r"epsilon 0\.75; this site's policy asks for epsilon 0\.5 at most",
        ),
    ],
)
def test_a_run_outside_the_policy_is_refused_with_the_rule(policy, run, says):
    with pytest.raises(RefusalError, match=says):
        policy.check_run(*run)


@given(
    st.builds(
        Policy,
        minimum_cohort=st.integers(1, 5),
        maximum_rounds=st.none() | st.integers(1, 5),
        maximum_epsilon=st.none() | st.sampled_from([0.5, 1, 2.0]),
    ),
    st.integers(1, 6),
    st.integers(1, 6),
    st.none() | st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, float("inf")]),
)
def test_a_run_is_permitted_where_every_rule_is_kept_and_nowhere_else(policy, participants, rounds, epsilon):
    permitted = participants >= policy.minimum_cohort
    permitted &= policy.maximum_rounds is None or rounds <= policy.maximum_rounds
    if policy.maximum_epsilon is not None:
        permitted &= epsilon is not None and epsilon <= policy.maximum_epsilon
    if permitted:
        policy.check_run(participants, rounds, epsilon)
    else:
        with pytest.raises(RefusalError):
            policy.check_run(participants, rounds, epsilon)


@given(st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES))
def test_a_reply_is_permitted_where_its_schema_is_listed_and_nowhere_else(allowed, name):
    Policy().check_question(Ask("any", name))
    if name in allowed:
        Policy(tuple(allowed)).check_question(Ask("any", name))
    else:
        with pytest.raises(RefusalError, match=f"'{name}' is outside"):
            Policy(tuple(allowed)).check_question(Ask("any", name))


@pytest.mark.parametrize("needs_noise", [True, False])
@pytest.mark.parametrize("allowed", [True, False])
def test_sums_that_open_single_crops_leave_without_noise_only_where_the_policy_says_so(needs_noise, allowed):
    policy = Policy(allow_exact_sums=allowed)
    if needs_noise and not allowed:
        with pytest.raises(RefusalError, match="could reveal single crops"):
            policy.check_run(5, 20, None, needs_noise=needs_noise)
    else:
        policy.check_run(5, 20, None, needs_noise=needs_noise)
    policy.check_run(5, 20, 8.0, unit="crop", needs_noise=needs_noise)
    if needs_noise and not allowed:
        with pytest.raises(RefusalError, match="a run with epsilon 100, whose noise hides too little"):
            policy.check_run(5, 20, 100.0, unit="crop", needs_noise=needs_noise)
    else:
        policy.check_run(5, 20, 100.0, unit="crop", needs_noise=needs_noise)


def test_a_policy_of_a_former_release_may_name_messages_that_are_gone(tmp_path):
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({**FIRST, "schemas": ["density_statistics", "model_update"]}))
    assert Policy.read(file).schemas == ("density_statistics", "model_update")
