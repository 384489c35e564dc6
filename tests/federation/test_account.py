"""What all runs of a site have answered and spent together: nothing lowers it but time, and nothing goes beyond it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from clap_vad.core.statistics.accounting import Release, Terms, epsilon_of, epsilon_of_releases
from clap_vad.errors import ClapError
from clap_vad.federation import account as module
from clap_vad.federation.account import DELTA, Account, Answer, Data, epsilon
from clap_vad.federation.ask import Ask
from clap_vad.federation.exit.enter_account import EnterAccount
from clap_vad.federation.exit.passage import Passage
from clap_vad.federation.exit.write_ledger import LEDGER, WriteLedger
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.run_account import RunAccount

DATA = Data.of(["a", "b"], [b"store"])
TERMS = Terms(None, 1e-5, 1.0, 0.5, 0.1, 3, 10, 2, 6.0, 4.0)
BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """A wall clock that anybody may set."""

    def __init__(self) -> None:
        self.time = BEGINNING

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Callable[[], Account]:
    """A process that knows nothing but the file."""
    return lambda: Account(tmp_path / "account.jsonl", now=clock)


def question(number: int = 1, step: str = "train", reply: str = "model_update", sequence: int = 7) -> Ask:
    return Ask(step, reply, {"round": np.array(number)}, sequence=sequence)


def enter(account: Account, ask: Ask, answer: str, policy: Policy | None = None, run: str = "run", **more) -> None:
    RunAccount(account, policy or Policy(), run, more.pop("data", DATA), **more).enter(ask, ask.reply, answer)


def gaussian_epsilon(noises: list[float], delta: float) -> float:
    """Of Gaussian mechanisms one after the other: Balle and Wang 2018, theorem 8, of their joint ratio."""
    mu = math.sqrt(sum(1 / noise**2 for noise in noises))

    def excess(e: float) -> float:
        return float(norm.cdf(mu / 2 - e / mu) - math.exp(e) * norm.cdf(-mu / 2 - e / mu)) - delta

    return float(brentq(excess, 0, 300))


# What releases of several runs cost together.


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.8, 30), min_size=1, max_size=6), st.sampled_from([1e-7, 1e-5, 1e-3]))
def test_unsampled_releases_cost_what_the_closed_form_says(noises, delta):
    releases: dict[Release, int] = {}
    for noise in noises:
        releases[Release(noise)] = releases.get(Release(noise), 0) + 1
    found, exact = epsilon_of_releases(releases, delta), gaussian_epsilon(noises, delta)
    assert exact <= found + 1e-9
    assert found <= exact * 1.002 + 2e-3


def test_a_run_costs_what_its_own_accountant_says_and_two_cost_less_than_their_sum():
    one = {Release(6.0): 5, Release(4.0, 0.5): 12}
    alone, twice = (epsilon_of_releases({key: times * n for key, n in one.items()}, 1e-5) for times in (1, 2))
    assert alone == pytest.approx(epsilon_of(TERMS), rel=2e-3)
    assert alone < twice < 2 * alone
    assert epsilon_of_releases({**one, Release(3.0, 0.1): 100}, 1e-5) > alone


@pytest.mark.parametrize(
    "releases",
    [{Release(0.01): 1}, {Release(0.01, 0.5): 1}, {Release(1.0): 1000}, {Release(0.06, 0.99): 1_000_000_000}],
)
def test_too_little_noise_promises_nothing(releases):
    assert epsilon_of_releases(releases, 1e-5) == math.inf


def hockey_stick(first: Callable, second: Callable, eps: float) -> float:
    """The least delta of (epsilon, delta) for two densities on the line, summed on a fine grid."""
    x = np.linspace(-60, 60, 400_001)
    return float(np.maximum(first(x) - math.exp(eps) * second(x), 0).sum() * (x[1] - x[0]))


@pytest.mark.parametrize(("noise", "sampling"), [(2.0, 0.5), (4.0, 0.1), (1.5, 1.0), (6.0, 0.9)])
def test_a_crop_of_a_run_for_videos_costs_no_more_than_is_reckoned(noise, sampling):
    """With or without the crop the video contributes, in the worst case 1 and -1: that is twice what 0 and 1 are."""

    def drawn(shift: float) -> Callable:
        return lambda x: (1 - sampling) * norm.pdf(x, 0, noise) + sampling * norm.pdf(x, shift, noise)

    made = Answer(BEGINNING.isoformat(), "r", "train", "x", "", "", "", noise, sampling, "video")
    spent = epsilon([made], "crop")
    assert hockey_stick(drawn(1.0), drawn(-1.0), spent) <= DELTA * (1 + 1e-6)
    video = epsilon([made], "video")
    assert hockey_stick(drawn(1.0), drawn(-1.0), video) > DELTA  # what bounds a video added or removed is too little


def test_each_unit_has_an_account_and_what_has_no_noise_is_in_both_without_bound():
    video = Answer("", "r", "s", "x", "", "", "", 5.0, 1.0, "video")
    crop, bare = replace(video, unit="crop"), replace(video, noise=0.0)
    assert epsilon([video], "video") == pytest.approx(gaussian_epsilon([5.0], DELTA), rel=2e-3)
    assert epsilon([video], "crop") == pytest.approx(gaussian_epsilon([2.5], DELTA), rel=2e-3)
    assert epsilon([crop], "crop") == pytest.approx(gaussian_epsilon([5.0], DELTA), rel=2e-3)
    assert epsilon([crop], "video") == math.inf
    assert epsilon([video, crop], "crop") == pytest.approx(gaussian_epsilon([5.0, 2.5], DELTA), rel=2e-3)
    assert {epsilon([video, bare], unit) for unit in ("video", "crop")} == {math.inf}
    assert {epsilon([], unit) for unit in ("video", "crop")} == {0.0}


# What is counted.


def test_answers_count_in_every_process_and_the_same_answer_to_the_same_question_once(opened):
    enter(opened(), question(1), "one")
    enter(opened(), question(1, sequence=30), "one", run="another")  # asked again, at another place of another run
    enter(opened(), question(1), "two")
    enter(opened(), question(2), "one")
    enter(opened(), question(2, reply="segment_count"), "one")
    enter(opened(), question(2, reply="acknowledgement"), "one")  # depends on no video
    enter(opened(), question(1), "one", data=Data.of(["a", "b"], [b"other features"]))
    assert [(a.schema, a.answer) for a in opened().counted("ever", DATA)] == [
        ("model_update", "one"), ("model_update", "two"), ("model_update", "one"), ("segment_count", "one"),
        ("model_update", "one"),
    ]  # fmt: skip


@pytest.mark.parametrize(("span", "runs"), [("run", "a"), ("year", "ab"), ("ever", "ab")])
def test_no_more_leave_than_the_policy_permits_over_each_span(opened, span, runs, tmp_path):
    policy = Policy(maximum_questions={"model_update": {span: 2}})
    for number, run in enumerate((runs * 2)[:2]):
        enter(opened(), question(number), "x", policy, run=run)
    before = (tmp_path / "account.jsonl").read_bytes()
    says = rf"'model_update' was answered 2 times .*{ {'run': 'in a run', 'year': '365', 'ever': 'all'}[span] }"
    refused = RunAccount(opened(), policy, "a", DATA)
    with pytest.raises(RefusalError, match=says):
        refused.check_question(question(5), "model_update")  # before it is worked out
    with pytest.raises(RefusalError, match=says):
        refused.enter(question(5), "model_update", "y")  # and where it was
    refused.check_question(question(0), "model_update")
    refused.enter(question(0), "model_update", "x")  # the same again costs nothing
    with pytest.raises(RefusalError, match=says):
        refused.enter(question(0), "model_update", "another now")
    refused.check_question(question(5, reply="segment_count"), "segment_count")
    if span == "run":
        RunAccount(opened(), policy, "b", DATA).check_question(question(5), "model_update")
    assert (tmp_path / "account.jsonl").read_bytes() == before


def test_a_bound_of_zero_lets_nothing_out(opened):
    with pytest.raises(RefusalError, match="answered 0 times"):
        enter(opened(), question(), "x", Policy(maximum_questions={"model_update": {"ever": 0}}))


def test_two_processes_that_have_both_looked_do_not_exceed_a_bound(opened):
    policy = Policy(maximum_questions={"model_update": {"ever": 3}})
    both = [RunAccount(opened(), policy, run, DATA) for run in ("a", "b")]
    for number in range(3):
        both[number % 2].check_question(question(number), "model_update")
    for number in range(3):
        both[number % 2].enter(question(number), "model_update", "x")
    for one in both:
        with pytest.raises(RefusalError):
            one.enter(question(9), "model_update", "x")


# Videos that come and go.


def test_what_was_asked_before_the_oldest_present_video_took_part_does_not_count(opened):
    old, mixed, new = (Data.of(names, [b"s"]) for names in (["a"], ["a", "b"], ["b", "c"]))
    for number, data in enumerate((old, old, mixed, new)):
        enter(opened(), question(number), "x", data=data)
    counts = [len(opened().counted("ever", data)) for data in (old, mixed, new, Data.of(["z"], [b"s"]))]
    assert counts == [4, 4, 2, 0]
    assert len(opened().counted("ever")) == 4


def test_a_video_that_is_taken_out_and_put_back_has_not_been_forgotten(opened):
    policy = Policy(maximum_questions={"model_update": {"ever": 2}})
    enter(opened(), question(1), "x", policy)
    enter(opened(), question(2), "x", policy, data=Data.of(["c"], [b"s"]))
    with pytest.raises(RefusalError):
        enter(opened(), question(3), "x", policy, data=Data.of(["a", "d"], [b"s"]))


def test_the_account_names_no_video(opened, tmp_path):
    enter(opened(), question(), "x", data=Data.of(["gate-at-night"], [b"s"]))
    assert "gate" not in (tmp_path / "account.jsonl").read_text()


# Kills, damage, clocks.


def test_a_line_torn_by_a_kill_counts_for_nothing_and_what_follows_does(opened, tmp_path):
    file = tmp_path / "account.jsonl"
    enter(opened(), question(1), "x")
    whole = file.read_bytes()
    for end in (b'{"time": "2026-03-01T00', b"{", b"\0" * 30, b'{"time": "20\0\0\0'):
        file.write_bytes(whole + end)
        account = opened()
        assert len(account.counted("ever", DATA)) == 1
        enter(account, question(2), "y")
        for process in (account, opened()):
            assert [answer.answer for answer in process.counted("ever", DATA)] == ["x", "y"]


def test_every_cut_of_the_file_is_read(opened, tmp_path):
    file = tmp_path / "account.jsonl"
    for number in range(2):
        enter(opened(), question(number), "x")
    whole = file.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert len(opened().counted("ever")) == max(0, sum(end <= cut for end in ends) - 1)  # the first has the videos


@pytest.mark.parametrize("change", [lambda b: b.replace(b'"noise": 0.0', b'"noise": -1.'), lambda b: b[:40] + b[44:]])
def test_a_damaged_line_is_told_and_nothing_is_reckoned(opened, tmp_path, change):
    file = tmp_path / "account.jsonl"
    enter(opened(), question(1), "x")
    *kept, last = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*kept, change(last), b""]))
    with pytest.raises(ClapError, match=r"account.jsonl: a line is damaged \(.*\); restore the file"):
        opened()


def test_nothing_leaves_where_the_account_cannot_be_written(opened, tmp_path, monkeypatch):
    passage = Passage(question(), "model_update", "model_update", "model_update")
    enter_account = EnterAccount(RunAccount(opened(), Policy(), "run", DATA))

    def full(*arguments, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "append_line", full)
    with pytest.raises(OSError, match="No space"):
        WriteLedger(tmp_path)(enter_account(passage))
    assert not (tmp_path / LEDGER).exists()


def test_a_line_is_on_the_disk_before_its_answer_is_handed_over(opened, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    enter(opened(), question(), "x")
    assert str(tmp_path / "account.jsonl") in synced


def test_what_is_older_than_a_year_counts_for_ever_and_for_the_year_no_more(opened, clock):
    enter(opened(), question(1), "x")
    clock.time += timedelta(days=200)
    enter(opened(), question(2), "y")
    found = []
    for days in (164, 2, 200):
        clock.time += timedelta(days=days)
        found.append([len(opened().counted(span, DATA)) for span in ("year", "ever")])
    assert found == [[2, 2], [1, 2], [0, 2]]


@pytest.mark.parametrize("back", [1, 400, 20_000])
def test_a_clock_that_is_set_back_lowers_nothing(opened, clock, back):
    enter(opened(), question(1), "x")
    clock.time -= timedelta(days=back)
    assert len(opened().counted("year", DATA)) == 1  # it lies ahead
    enter(opened(), question(2), "y")
    clock.time = BEGINNING + timedelta(days=364)
    assert len(opened().counted("year", DATA)) == 2  # the second too, whatever was written of its time
    clock.time = BEGINNING + timedelta(days=366)
    assert len(opened().counted("year", DATA)) == 0


# Epsilon.


def private(opened: Callable, policy: Policy, run: str = "run", terms: Terms = TERMS, spent=dict) -> RunAccount:
    return RunAccount(opened(), policy, run, DATA, terms, spent)


def work_off(opened: Callable, policy: Policy, run: str, terms: Terms = TERMS) -> None:
    """A whole run, with none of the spare releases used."""
    spent = {"statistics": 0, "training": 0}
    for kind, schema, times in (
        ("statistics", "private_moments", terms.statistics),
        ("training", "private_gradient_1", terms.rounds),
    ):
        for number in range(times):
            ask = question(number, schema, schema)
            one = private(opened, policy, run, terms, lambda: spent)
            one.check_question(ask, schema)
            spent[kind] += 1  # as the run's own budget notes it
            one.enter(ask, schema, f"{run}-{kind}-{number}")


def test_runs_are_composed_and_the_one_that_could_exceed_the_bound_is_refused_whole(opened):
    full = {Release(6.0): 5, Release(4.0, 0.5): 12}
    made = {Release(6.0): 3, Release(4.0, 0.5): 10}
    both = {key: made[key] + full[key] for key in full}
    permitted = epsilon_of_releases(both, DELTA)
    policy, tighter = (Policy(maximum_spent={"video": {"ever": permitted * share}}) for share in (1, 0.999))
    work_off(opened, policy, "first")
    with pytest.raises(RefusalError):
        private(opened, tighter, "second").check_run(TERMS)
    private(opened, policy, "second").check_run(TERMS)
    work_off(opened, policy, "second")
    assert epsilon(opened().counted("ever", DATA), "video") == pytest.approx(
        epsilon_of_releases({key: 2 * times for key, times in made.items()}, DELTA)
    )
    with pytest.raises(RefusalError, match=r"loss of a video could exceed epsilon .* permits no more over all"):
        private(opened, policy, "third").check_run(TERMS)


@pytest.mark.parametrize("span", ["run", "year", "ever"])
def test_epsilon_is_bounded_over_each_span(opened, clock, span):
    one = epsilon_of(TERMS)
    policy = Policy(maximum_spent={"video": {span: one * 1.1}})
    private(opened, policy, "first").check_run(TERMS)
    work_off(opened, policy, "first")
    if span == "run":
        private(opened, policy, "second").check_run(TERMS)
        policy = Policy(maximum_spent={"video": {span: one * 0.9}})
    with pytest.raises(RefusalError, match={"run": "in a run", "year": "within 365", "ever": "all runs"}[span]):
        private(opened, policy, "second").check_run(TERMS)
    clock.time += timedelta(days=365)
    if span == "year":
        private(opened, policy, "second").check_run(TERMS)
    else:
        with pytest.raises(RefusalError):
            private(opened, policy, "second").check_run(TERMS)


def test_a_run_that_another_gets_ahead_of_does_not_exceed_the_bound_together_with_it(opened):
    """Both were agreed to while nothing had been spent yet."""
    policy = Policy(maximum_spent={"video": {"ever": epsilon_of(TERMS) * 1.1}})
    for run in ("first", "second"):
        private(opened, policy, run).check_run(TERMS)
    work_off(opened, policy, "first")
    with pytest.raises(RefusalError):
        work_off(opened, policy, "second")
    assert epsilon(opened().counted("ever"), "video") <= epsilon_of(TERMS) * 1.1


@pytest.mark.parametrize("unit", ["video", "crop"])
def test_a_run_without_differential_privacy_has_no_bound_and_one_after_it_neither(opened, unit):
    policy = Policy(maximum_spent={unit: {"ever": 50.0}})
    with pytest.raises(RefusalError, match=f"privacy loss of a {unit} could exceed epsilon 50"):
        RunAccount(opened(), policy, "run", DATA).check_run(None)
    with pytest.raises(RefusalError):
        private(opened, policy, "run").check_run(replace(TERMS, noise_training=0.0))
    with pytest.raises(RefusalError):
        RunAccount(opened(), policy, "run", DATA).check_question(question(), "model_update")
    private(opened, policy, "run").check_run(TERMS)
    enter(opened(), question(), "x")  # while the policy had no such bound
    with pytest.raises(RefusalError):
        private(opened, policy, "run").check_run(TERMS)


def test_a_run_for_crops_spends_the_crops_budget_and_is_refused_where_videos_have_one(opened):
    terms = replace(TERMS, unit="crop")
    one = epsilon_of(TERMS)
    permitted = Policy(maximum_spent={"crop": {"ever": one * 1.1}})
    private(opened, permitted, "run", terms).check_run(terms)
    work_off(opened, permitted, "run", terms)
    assert {answer.unit for answer in opened().counted("ever")} == {"crop"}
    with pytest.raises(RefusalError, match="loss of a crop could exceed"):
        private(opened, permitted, "next", terms).check_run(terms)
    with pytest.raises(RefusalError, match="loss of a video could exceed epsilon 90"):
        private(opened, Policy(maximum_spent={"video": {"run": 90}}), "next", terms).check_run(terms)
    with pytest.raises(RefusalError, match="loss of a crop could exceed"):  # a run for videos costs crops, too
        private(opened, permitted, "next").check_run(TERMS)


def test_answers_with_noise_are_written_with_all_that_is_needed_to_reckon(opened, tmp_path):
    work_off(opened, Policy(), "run")
    lines = [json.loads(line) for line in (tmp_path / "account.jsonl").read_text().splitlines()]
    assert [(line["noise"], line["sampling"], line["unit"]) for line in lines[1:]] == [
        *[(6.0, 1.0, "video")] * 3, *[(4.0, 0.5, "video")] * 10,
    ]  # fmt: skip


# What came before there was an account.


def test_what_earlier_runs_answered_is_taken_up_once_and_counts_for_the_present_videos(tmp_path, clock):
    file, times = tmp_path / "account.jsonl", [BEGINNING - timedelta(days=n) for n in (300, 100)]
    past = [Answer(time.isoformat(), "old", "train", "model_update", "", "", "x") for time in times]
    account = Account(file, lambda: past, clock)
    policy = Policy(maximum_questions={"model_update": {"ever": 3}})
    assert len(account.counted("ever", DATA)) == 2
    assert not file.exists()  # who only looks writes nothing
    enter(account, question(1), "y", policy)
    with pytest.raises(RefusalError):
        enter(account, question(2), "y", policy)
    again = Account(file, lambda: pytest.fail("taken up twice"), clock)
    assert [answer.run for answer in again.counted("ever", DATA)] == ["old", "old", "run"]
    clock.time += timedelta(days=66)
    assert len(again.counted("year", DATA)) == 2
    assert again.counted("ever", Data.of(["new"], [])) == []
