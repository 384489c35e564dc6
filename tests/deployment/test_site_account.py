"""The account of a site over its runs: sites answer real runs, refuse what exceeds a limit, and report it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specified import changed, deployed_run

from clap_vad.cli.main import cli
from clap_vad.core.statistics.accounting import Release, Terms, calibrated, epsilon_of, epsilon_of_releases
from clap_vad.datasets.dataset import Dataset, write_videos_csv
from clap_vad.deployment.handshake import handshake
from clap_vad.deployment.joining import join_site
from clap_vad.deployment.planning import resolved_run
from clap_vad.deployment.resolved_run import ResolvedRun
from clap_vad.deployment.site_account import open_account
from clap_vad.deployment.site_executor import SiteExecutor
from clap_vad.features.store.description import describe
from clap_vad.federation.account import Account, epsilon
from clap_vad.federation.ask import Ask, Reply, State, Steps
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Check
from clap_vad.federation.messages import schema
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.trust.coordinator_home import CoordinatorHome
from clap_vad.trust.site_home import SiteHome
from synthetic import make_dataset

SITES = ("east", "north", "south", "west")
ROUNDS, DIM = 2, 8
OPTIONS = {"segregation": "federated", "local_epochs": 1, "refine_from": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("whole") / "d", videos=3, dim=DIM))


@pytest.fixture
def hosts(tmp_path, whole) -> Callable[[], dict[str, SiteExecutor]]:
    """``hosts()`` -> processes that know nothing but their files."""
    for name in SITES:
        folder = tmp_path / name / "dataset"
        folder.mkdir(parents=True)
        (folder / "store").symlink_to((whole.path / "store").resolve(), target_is_directory=True)
        write_videos_csv(folder / "videos.csv", [r for v, r in whole.videos.items() if v.startswith(name)])
        Policy().write(tmp_path / name / "policy.json")

    def make() -> dict[str, SiteExecutor]:
        return {
            name: SiteExecutor(
                name, tmp_path / name / "dataset", tmp_path / name, tmp_path / name / "policy.json",
                UnauthenticatedSigner,
            )
            for name in SITES
        }  # fmt: skip

    return make


@cache
def good() -> Terms:
    return calibrated(4.0, 1e-5, clip=1.0, sampling=0.5, lr=0.1, statistics=9, rounds=ROUNDS)


def agreement(whole: Dataset, terms: Terms | None) -> ResolvedRun:
    given: dict[str, Any] = {
        "dataset": None, "method": "clap", "supervision": "us", "strategy": "fedavg", "rounds": ROUNDS, "seed": 3,
        "threads": 1, "normalise": "federated", "options": OPTIONS, "fraction": 1.0, "stragglers": 0.0,
        "labelled_participants": 0.3, "test_each_round": False, "min_sites": 0, "deadline": 60.0,
        "secure_aggregation": False, "privacy": None, "update_encoding": "float32",
    }  # fmt: skip
    made = resolved_run(deployed_run(SITES, **given), describe(whole.stores[0]))
    return changed(made, privacy=terms)


def begin(agreed: ResolvedRun) -> Ask:
    payload = {"agreement": agreed.to_array()}
    return Ask("begin", "acknowledgement", payload, accepted=dict.fromkeys(SITES, -1))


def later(step: str, reply: str, sequence: int = 1, **payload: Any) -> Ask:
    return Ask(step, reply, payload, sequence=sequence, accepted=dict.fromkeys(SITES, sequence - 1))


def run_with(hosts, folder: Path, agreed: ResolvedRun, run: str) -> State:
    class Engine:
        participants = SITES

        def deliver(self, ask: Ask, check: Check) -> list[Reply]:
            replies = []
            for name in SITES:
                if ask.targets is None or name in ask.targets:
                    message = hosts()[name].handle(run, ask)
                    check(name, message)
                    replies.append(Reply(name, message))
            return replies

    def steps(state: State) -> Steps:
        made = yield from handshake(state, lambda features: agreed)
        yield from made.make_method().coordinate(made.plan(), state, lambda record: None)

    return coordinate(steps, Engine(), Checkpoint(folder), 0)


def ledger(home: Path, run: str) -> list[dict[str, Any]]:
    file = home / "runs" / run / "ledger.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_the_account_has_what_the_ledgers_have_of_what_depends_on_videos(hosts, whole, tmp_path):
    for run, terms in (("private", good()), ("plain", None)):
        run_with(hosts, tmp_path / run, agreement(whole, terms), run)
    answers = open_account(tmp_path / "north").counted("ever")
    for run in ("private", "plain"):
        sent = [line for line in ledger(tmp_path / "north", run) if not schema(line["schema"]).bare]
        expected = [(line["schema"], line["step"], line["sha256"]) for line in sent]
        assert [(a.schema, a.step, a.answer) for a in answers if a.run == run] == expected
    private = [answer for answer in answers if answer.run == "private"]
    spent = epsilon_of_releases(
        {Release(good().noise_statistics): 9, Release(good().noise_training, 0.5): ROUNDS}, 1e-5
    )
    assert epsilon(private, "video") == spent == pytest.approx(epsilon_of(good()), rel=2e-3)
    assert epsilon(answers, "video") == float("inf")


def test_a_run_is_refused_whole_at_the_end_of_the_budget_and_nothing_of_it_leaves(hosts, whole, tmp_path):
    """Also where the runs' folders have been deleted in between, and the run's own budget with them."""
    north, agreed = tmp_path / "north", agreement(whole, good())
    Policy(maximum_spent={"video": {"ever": 4.5}}).write(north / "policy.json")
    run_with(hosts, tmp_path / "first", agreed, "first")
    before = (north / "account.jsonl").read_bytes()
    for run, after in (("second", lambda: None), ("third", lambda: shutil.rmtree(north / "runs")), ("first", None)):
        if after is not None:
            after()
        hosts()["north"].handle(run, Ask("describe", "features_description", accepted=dict.fromkeys(SITES, -1)))
        with pytest.raises(RefusalError, match=r"loss of a video could exceed epsilon 4\.5; .* over all runs"):
            hosts()["north"].handle(run, begin(agreed))
        assert [line["schema"] for line in ledger(north, run)] == ["features_description"]
        with pytest.raises(RefusalError):
            hosts()["north"].handle(run, later("scales", "private_scales"))
    assert (north / "account.jsonl").read_bytes() == before
    Policy(maximum_spent={"video": {"ever": 7.0}}).write(north / "policy.json")
    run_with(hosts, tmp_path / "third", agreed, "fourth")
    assert 4.5 < epsilon(open_account(north).counted("ever"), "video") < 7.0


@pytest.mark.parametrize("span", ["run", "year", "ever"])
def test_a_run_without_differential_privacy_is_refused_by_any_bound_on_epsilon(hosts, whole, tmp_path, span):
    Policy(maximum_spent={"video": {span: 90.0}}).write(tmp_path / "north" / "policy.json")
    with pytest.raises(RefusalError, match="privacy loss of a video could exceed epsilon 90"):
        hosts()["north"].handle("run", begin(agreement(whole, None)))
    assert not ledger(tmp_path / "north", "run")
    assert not (tmp_path / "north" / "account.jsonl").exists()


def test_answers_are_counted_over_runs_and_the_same_answer_is_free(hosts, whole, tmp_path):
    """A second run asks the same at first, which tells nothing new; its training is new, for the seed is another."""
    north, policy = tmp_path / "north", Policy(maximum_questions={"model_update": {"ever": ROUNDS}})
    policy = replace(policy, maximum_questions={**policy.maximum_questions, "feature_moments": {"ever": 1}})
    policy.write(north / "policy.json")
    agreed = agreement(whole, None)
    run_with(hosts, tmp_path / "first", agreed, "first")
    run_with(hosts, tmp_path / "again", agreed, "again")
    assert {answer.run for answer in open_account(north).counted("ever")} == {"first"}
    with pytest.raises(RefusalError, match="'model_update' was answered 2 times over all runs"):
        run_with(hosts, tmp_path / "second", changed(agreed, seed=4), "second")
    sent = [line["schema"] for line in ledger(north, "second")]
    assert "feature_moments" in sent
    assert "model_update" not in sent


def test_a_kill_between_the_runs_budget_and_the_account_loses_nothing(hosts, whole, tmp_path, monkeypatch):
    """The noise was drawn and noted, the answer has not left: asked again it is the same, and counts once."""
    north, agreed = tmp_path / "north", agreement(whole, good())
    Policy(maximum_spent={"video": {"ever": 4.0}}).write(north / "policy.json")
    hosts()["north"].handle("run", begin(agreed))
    with monkeypatch.context() as patch:
        patch.setattr(Account, "add", lambda *given: (_ for _ in ()).throw(OSError(5, "killed")))
        with pytest.raises(OSError, match="killed"):
            hosts()["north"].handle("run", later("scales", "private_scales"))
    assert len(ledger(north, "run")) == 1
    answers = [hosts()["north"].handle("run", later("scales", "private_scales")) for _ in range(2)]
    assert all(np.array_equal(answers[0][name], answers[1][name]) for name in answers[0])
    assert len(open_account(north).counted("ever")) == 1


@pytest.mark.parametrize(("forgotten", "known"), [((), True), (("state",), False)])
def test_runs_of_a_release_without_an_account_are_taken_up(hosts, whole, tmp_path, forgotten, known):
    north, agreed = tmp_path / "north", agreement(whole, good())
    run_with(hosts, tmp_path / "first", agreed, "first")
    reckoned = epsilon(open_account(north).counted("ever"), "video")
    (north / "account.jsonl").unlink()
    for folder in forgotten:
        shutil.rmtree(north / "runs" / "first" / folder)
    assert epsilon(open_account(north).counted("ever"), "video") == (reckoned if known else float("inf"))
    Policy(maximum_spent={"video": {"ever": 4.5}}).write(north / "policy.json")
    with pytest.raises(RefusalError):
        hosts()["north"].handle("second", begin(agreed))
    Policy(maximum_questions={"private_scales": {"ever": 1}}).write(north / "policy.json")
    hosts()["north"].handle("second", begin(agreed))
    with pytest.raises(RefusalError, match="'private_scales' was answered 1 times"):
        hosts()["north"].handle("second", later("scales", "private_scales"))


def test_videos_that_are_new_have_cost_nothing_yet(hosts, whole, tmp_path):
    north, agreed = tmp_path / "north", agreement(whole, good())
    Policy(maximum_spent={"video": {"ever": 4.5}}).write(north / "policy.json")
    run_with(hosts, tmp_path / "first", agreed, "first")
    videos = [record for video, record in whole.videos.items() if video.startswith("south")]
    write_videos_csv(north / "dataset" / "videos.csv", videos)
    assert hosts()["north"].handle("second", begin(agreed)) == {}


def test_a_site_that_joins_bounds_how_often_noise_may_be_drawn_anew(tmp_path, hosts, whole):
    """The mean of many runs' answers has ever less noise, whatever each of them promises."""
    north, request, bundle = tmp_path / "north", tmp_path / "north.request.json", tmp_path / "north.bundle.json"
    coordinator = CoordinatorHome.init(tmp_path / "coordinator", "cameras", "localhost", 8002, 8003)
    SiteHome.request(north, "north", "local", request)
    coordinator.approve(request, bundle)
    (north / "policy.json").unlink()
    join_site(north, bundle, north / "dataset")
    assert Policy.read(north / "policy.json").maximum_questions == {"row_sizes": {"year": 24}}
    terms = calibrated(8.0, 1e-6, clip=1.0, sampling=1.0, lr=0.1, statistics=4, rounds=ROUNDS + 1, unit="crop")
    agreed = changed(agreement(whole, terms), method="comet", options={})
    for run in range(24):
        hosts()["north"].handle(f"run-{run}", begin(agreed))
        hosts()["north"].handle(f"run-{run}", later("sizes", "row_sizes"))
    hosts()["north"].handle("one-more", begin(agreed))
    with pytest.raises(RefusalError, match="schema 'row_sizes' was answered 24 times within 365 days"):
        hosts()["north"].handle("one-more", later("sizes", "row_sizes"))
    with pytest.raises(RefusalError, match="asked for 'moments' before 'sizes'"):  # which others' runs have told
        hosts()["north"].handle("one-more", later("moments", "row_moments", 2))


# What the operator is shown.


@pytest.fixture
def joined(tmp_path, hosts, whole) -> Path:
    """The home of site north, which has joined a federation and answered a run of either kind."""
    north, request, bundle = tmp_path / "north", tmp_path / "north.request.json", tmp_path / "north.bundle.json"
    coordinator = CoordinatorHome.init(tmp_path / "coordinator", "cameras", "localhost", 8002, 8003)
    site = SiteHome.request(north, "north", "local", request)
    coordinator.approve(request, bundle)
    site.join(bundle, north / "dataset")
    run_with(hosts, tmp_path / "private", agreement(whole, good()), "private")
    return north


def status(capsys, home: Path, *options: str) -> str:
    cli.main(["site", "status", "--home", str(home), *options], standalone_mode=False)
    return str(capsys.readouterr().out)


def test_status_reports_what_is_used_and_what_is_permitted(joined, hosts, whole, tmp_path, capsys):
    bounds = {"maximum_questions": {"private_mixture": {"ever": 12}}, "maximum_spent": {"video": {"year": 6.0}}}
    Policy(**bounds).write(joined / "policy.json")
    account = json.loads(status(capsys, joined, "--json").splitlines()[-1])["account"]
    assert (account["delta"], account["videos"]) == (1e-5, 3)
    rows = {row["schema"]: row for row in account["questions"]}
    assert rows["private_mixture"] == {
        "schema": "private_mixture",
        "used": {"run": 4, "year": 4, "ever": 4},
        "permitted": {"run": None, "year": None, "ever": 12},
    }
    video, crop = account["spent"]
    assert (video["unit"], crop["unit"]) == ("video", "crop")
    assert video["permitted"] == {"run": None, "year": 6.0, "ever": None}
    assert video["used"]["run"] == video["used"]["year"] == video["used"]["ever"] == pytest.approx(4.0, abs=0.02)
    assert crop["used"]["ever"] > video["used"]["ever"]
    assert video["unbounded"] == crop["unbounded"] == []
    text = status(capsys, joined)
    assert "4 of 12" in text
    assert "of 6" in text
    Policy().write(joined / "policy.json")
    run_with(hosts, tmp_path / "plain", agreement(whole, None), "plain")
    video, crop = json.loads(status(capsys, joined, "--json").splitlines()[-1])["account"]["spent"]
    assert video["used"] == {"run": None, "year": None, "ever": None}
    assert video["unbounded"] == crop["unbounded"] == ["plain"]
    assert "these runs have no bound on the privacy loss of a video: plain" in status(capsys, joined)


def test_status_of_a_site_that_has_answered_nothing_writes_nothing(tmp_path, joined, capsys):
    shutil.rmtree(joined / "runs")
    (joined / "account.jsonl").unlink()
    account = json.loads(status(capsys, joined, "--json").splitlines()[-1])["account"]
    assert account["questions"] == []
    assert [row["used"]["ever"] for row in account["spent"]] == [0.0, 0.0]
    assert not (joined / "account.jsonl").exists()
