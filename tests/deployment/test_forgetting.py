"""A site leaves: what is reported, deleted and kept; a run without the site equals one that never had it."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from specified import deployed_run

from clap_vad.cli.main import cli
from clap_vad.datasets.dataset import Dataset, write_videos_csv
from clap_vad.deployment import run_files
from clap_vad.deployment import train as deployed
from clap_vad.deployment.forgetting import NOT_RECALLED, forget_site
from clap_vad.deployment.job import Job
from clap_vad.deployment.planning import specification_without
from clap_vad.deployment.queue import dequeue, enqueue, known_runs, queued
from clap_vad.deployment.run_files import RunFiles
from clap_vad.deployment.run_supervisor import RunSupervisor
from clap_vad.deployment.service_files import write_status
from clap_vad.deployment.site_executor import SiteExecutor
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, Reply
from clap_vad.federation.engine import Check, TooFewRepliesError
from clap_vad.federation.policy import Policy
from clap_vad.persistence import locked_folder, read_json, write_json
from clap_vad.protection.signing import UnauthenticatedSigner
from clap_vad.specification.reading import read_specification
from clap_vad.specification.run import Privacy, RunSpecification
from clap_vad.trust.coordinator_home import CoordinatorHome
from clap_vad.trust.site_home import SiteHome
from clap_vad.workflows import train as workflow
from synthetic import SCENES, make_dataset

SITES = tuple(sorted(SCENES))
LEAVES = "north"
REST = tuple(name for name in SITES if name != LEAVES)
QUICK = {"min_steps": 0, "local_epochs": 1}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("whole") / "d", videos=3))


@pytest.fixture(scope="module")
def never(whole, tmp_path_factory) -> Dataset:
    """The same dataset as if the one who leaves had never had a camera."""
    folder = tmp_path_factory.mktemp("never") / "d"
    folder.mkdir()
    for name in ("store", "frame_labels.npz"):
        (folder / name).symlink_to((whole.path / name).resolve())
    write_videos_csv(
        folder / "videos.csv",
        [r for v, r in whole.videos.items() if r.split == "test" or not v.startswith(LEAVES)],
    )
    return Dataset(folder)


@pytest.fixture(autouse=True)
def without_pages(monkeypatch) -> None:
    """No page about a run and no baselines: nothing here looks at them."""
    module = importlib.import_module("clap_vad.workflows.finish")
    monkeypatch.setattr(module, "report", lambda run: None)
    monkeypatch.setattr(module, "baseline_table", lambda dataset: {})


# In one process.


@pytest.mark.parametrize(
    "choices",
    [
        {"method": "clap", "refine_from": 2},
        {"method": "c2fpl", "supervision": "mixed", "labelled_participants": 0.5, "fraction": 0.6},
        {"method": "clap", "density": "pooled", "secure_aggregation": True},
        {"method": "clap", "strategy": "scaffold", "normalise": "federated"},
    ],
    ids=["clap", "c2fpl, some labels, some sites a round", "masked", "scaffold"],
)
def test_a_run_without_a_participant_is_one_that_never_had_it(tmp_path, whole, never, choices):
    given = {**QUICK, "protocol": "scene", "rounds": 2, "seed": 3, **choices}
    with_it = workflow.train(whole.path, tmp_path / "with", **given)
    again = workflow.train_like(tmp_path / "with", tmp_path / "again", without=[LEAVES])
    fresh = workflow.train(whole.path, tmp_path / "fresh", without=[LEAVES], **given)
    expected = workflow.train(never.path, tmp_path / "never", **given)
    assert again["model_sha256"] == fresh["model_sha256"] == expected["model_sha256"]
    assert with_it["model_sha256"] != expected["model_sha256"]
    assert (again["participants"], with_it["participants"]) == (len(REST), len(SITES))
    assert sorted(folder.name for folder in (tmp_path / "again" / "sites").iterdir()) == list(REST)


@pytest.mark.slow
def test_under_differential_privacy_it_is_the_same_run_where_its_noise_can_be_drawn_again(tmp_path, whole, never):
    given: dict[str, Any] = {
        "method": "clap", "segregation": "federated", "protocol": "scene", "rounds": 2, "seed": 3,
    }  # fmt: skip
    found = {}
    for seed in (5, None):
        privacy = Privacy(epsilon=8.0, seed=seed)
        workflow.train(whole.path, tmp_path / f"with-{seed}", privacy=privacy, **given)
        again = workflow.train_like(tmp_path / f"with-{seed}", tmp_path / f"again-{seed}", without=[LEAVES])
        expected = workflow.train(never.path, tmp_path / f"never-{seed}", privacy=privacy, **given)
        found[seed] = again["model_sha256"] == expected["model_sha256"]
    assert found == {5: True, None: False}


def test_a_run_without_a_participant_goes_on_without_it_after_a_kill(tmp_path, whole):
    given = {**QUICK, "method": "clap", "protocol": "scene", "rounds": 2, "without": [LEAVES]}
    expected = workflow.train(whole.path, tmp_path / "run", **given)
    for file in ("metrics.json", "model.safetensors", "model.json"):
        (tmp_path / "run" / file).unlink()
    assert workflow.resume(tmp_path / "run")["model_sha256"] == expected["model_sha256"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"without": ["elsewhere"]}, f"--without elsewhere: .* the run has {', '.join(SITES)}"),
        ({"without": [LEAVES, LEAVES]}, "name each participant once"),
        ({"without": list(SITES)}, "not all"),
        ({"without": [LEAVES], "setting": "centralized"}, "use it with --setting collaborative or local"),
        (
            {"without": list(SITES[:2]), "secure_aggregation": True, "density": "pooled"},
            "a sum over 2 participants hides none",
        ),
    ],
)
def test_impossible_participants_of_a_run_are_reported(tmp_path, whole, changes, message):
    with pytest.raises(ClapError, match=message):
        workflow.train(whole.path, tmp_path / "run", **{"method": "clap", "protocol": "scene", **QUICK, **changes})
    assert not (tmp_path / "run").exists()


# Over sites.


@pytest.fixture
def make_sites(tmp_path, whole) -> Callable[[str], Callable[[], dict[str, SiteExecutor]]]:
    """``make(folder)`` -> homes of their own for all sites; ``make(folder)()`` -> processes on them."""

    def make(folder: str) -> Callable[[], dict[str, SiteExecutor]]:
        for name in SITES:
            dataset = tmp_path / folder / name / "dataset"
            dataset.mkdir(parents=True)
            for link in ("store", "frame_labels.npz"):
                (dataset / link).symlink_to((whole.path / link).resolve())
            write_videos_csv(dataset / "videos.csv", [r for v, r in whole.videos.items() if v.startswith(name)])
            Policy().write(dataset.parent / "policy.json")
        return lambda: {
            name: SiteExecutor(
                name,
                tmp_path / folder / name / "dataset",
                tmp_path / folder / name,
                tmp_path / folder / name / "policy.json",
                UnauthenticatedSigner,
            )
            for name in SITES
        }

    return make


class Engine:
    """Hands questions to hosts; one that is given ``most`` carries only so many of them."""

    def __init__(
        self, run: str, participants: Sequence[str], hosts: Mapping[str, SiteExecutor], most: int = 1000
    ) -> None:
        self.participants = tuple(participants)
        self._run, self._hosts, self._left = run, hosts, most

    def deliver(self, ask: Ask, check: Check) -> list[Reply]:
        self._left -= 1
        if self._left < 0:
            raise TooFewRepliesError("the line is dead")
        replies = []
        for name in self.participants if ask.targets is None else ask.targets:
            message = self._hosts[name].handle(self._run, ask)
            check(name, message)
            replies.append(Reply(name, message))
        return replies


@pytest.fixture(scope="module")
def founded(tmp_path_factory) -> Path:
    """A coordinator's home with all sites approved."""
    folder = tmp_path_factory.mktemp("founded")
    made = CoordinatorHome.init(folder / "coordinator", "cameras", "localhost", 8002, 8003)
    for name in SITES:
        request = folder / f"{name}.request.json"
        SiteHome.request(folder / f"home-{name}", name, "local", request)
        made.approve(request, folder / f"{name}.bundle.json")
    return made.path


@pytest.fixture
def home(tmp_path, founded) -> CoordinatorHome:
    return CoordinatorHome.open(shutil.copytree(founded, tmp_path / "coordinator"))


def config_of(sites: Sequence[str] = SITES, **changes: Any) -> RunSpecification:
    given: dict[str, Any] = {
        "dataset": None, "method": "clap", "supervision": "us", "strategy": "fedavg", "rounds": 2, "seed": 3,
        "threads": 0, "normalise": "auto", "options": QUICK, "fraction": 1.0, "stragglers": 0.0,
        "labelled_participants": 0.3, "test_each_round": False, "min_sites": 0, "deadline": 60.0,
        "secure_aggregation": False, "privacy": None, "update_encoding": "float32", **changes,
    }  # fmt: skip
    return deployed_run(sites, **given)


def ask_for(home: CoordinatorHome, run: Path, config: RunSpecification) -> Path:
    """As ``clap train --engine flare`` hands a run to the service."""
    write_json(run / "deployed_by.json", {"coordinator": str(home.path)})
    write_json(run / "config.json", dataclasses.asdict(config))
    enqueue(home.path, run)
    return run


def work(run: Path, hosts: Mapping[str, SiteExecutor], most: int = 1000, state: str = "running") -> None:
    """One job on a run, and what the service notes of it."""
    number = int(RunFiles(run).deployment().get("segments", 0)) + 1
    RunFiles(run).write_deployment(id=run.name, state=state, why="", segments=number)
    Job(run, number).work(lambda config: Engine(run.name, config.sites, hosts, most))  # type: ignore[arg-type]


def finish(
    home: CoordinatorHome, run: Path, config: RunSpecification, hosts: Mapping[str, SiteExecutor]
) -> dict[str, Any]:
    work(ask_for(home, run, config), hosts)
    files = RunFiles(run)
    files.write_deployment(**{**files.deployment(), "state": "finished"})
    queued(home.path)  # takes it out, as the service does
    return dict(read_json(run / "metrics.json"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_site_is_forgotten_and_a_run_without_it_is_one_that_never_had_it(tmp_path, home, make_sites):
    hosts, others = make_sites("sites")(), make_sites("others")()
    run, never = tmp_path / "runs" / "run", tmp_path / "runs" / "never"
    first = finish(home, run, config_of(), hosts)
    unconcerned = finish(home, never, config_of(REST), others)
    before = contents(home.path), contents(run)
    looked = forget_site(home, LEAVES, look=True)
    assert (contents(home.path), contents(run)) == before
    assert (looked["site"], looked["revoked"], looked["missing"]) == (LEAVES, False, [])
    [trace] = looked["runs"]  # the other run never had it
    assert trace == {
        "run": str(run), "state": "finished", "gave": True, "rounds": 2, "masked": False, "epsilon": None,
        "model": str(run / "model.safetensors"), "model_sha256": first["model_sha256"], "removed": False, "busy": False,
    }  # fmt: skip
    forgotten = forget_site(home, LEAVES)
    assert (forgotten["revoked"], forgotten["runs"]) == (True, [{**trace, "removed": True}])
    assert [site.name for site in home.sites() if site.revoked] == [LEAVES]
    kept = contents(run)
    assert kept == {name: data for name, data in before[1].items() if not name.startswith("checkpoints/")}
    assert kept.keys() < before[1].keys()
    assert any(name.startswith("checkpoints/") for name in contents(never))
    without = specification_without(read_specification(run), [LEAVES])
    again = finish(home, tmp_path / "runs" / "again", without, hosts)
    assert again["model_sha256"] == unconcerned["model_sha256"] != first["model_sha256"]
    assert again["participants"] == len(REST)
    [again] = forget_site(home, LEAVES)["runs"]  # once more, in vain
    assert (again["gave"], again["removed"]) == (True, False)


@pytest.mark.parametrize(("most", "gave"), [(0, False), (1, False), (2, False), (3, True), (6, True)])
def test_a_run_that_is_not_finished_ends(tmp_path, home, make_sites, most, gave):
    """The first two questions, what features there are and what is agreed, tell nothing of any video."""
    hosts, run = make_sites("sites")(), ask_for(home, tmp_path / "run", config_of())
    work(run, hosts, most, "waiting")
    [trace] = forget_site(home, LEAVES)["runs"]
    assert (trace["state"], trace["gave"], trace["model"], trace["busy"]) == ("waiting", gave, None, False)
    assert not (run / "checkpoints").exists()
    assert queued(home.path) == []
    deployment = RunFiles(run).deployment()
    assert (deployment["state"], deployment["why"]) == (
        "failed",
        f"site '{LEAVES}' was forgotten; train again without it",
    )
    message = rf"site {LEAVES} was forgotten, .* 'clap train --like .* --without {LEAVES} --out RUN'"
    write_status(home.path, True, {})
    with pytest.raises(ClapError, match=message):
        deployed.resume_deployed(run)
    with pytest.raises(ClapError, match=message):
        RunSupervisor(run, home, None).advance({})  # type: ignore[arg-type]
    work(run, hosts)  # by a service that had it in hand
    assert RunFiles(run).job_status()["end"] == "failed"
    assert "was forgotten" in RunFiles(run).job_status()["why"]
    assert not (run / "checkpoints").exists()
    assert not (run / "model.safetensors").exists()


def test_a_run_with_a_job_is_recalled_and_reported(tmp_path, home, make_sites, monkeypatch, capsys):
    monkeypatch.setattr(run_files, "_RELEASE", 0.0)
    run = ask_for(home, tmp_path / "run", config_of())
    work(run, make_sites("sites")(), 4)
    before = contents(run / "checkpoints")
    arguments = ["coordinator", "forget", LEAVES, "--home", str(home.path), "--json"]
    with locked_folder(run), pytest.raises(SystemExit) as ended:
        cli.main(arguments, standalone_mode=False)
    out = capsys.readouterr()
    assert ended.value.code == 2
    assert f"a job is still running on {run}; repeat the command" in out.err
    assert json.loads(out.out)["runs"][0]["busy"]
    assert contents(run / "checkpoints") == before
    assert RunFiles(run).recalled(1)
    cli.main(arguments, standalone_mode=False)
    [trace] = json.loads(capsys.readouterr().out)["runs"]
    assert (trace["removed"], trace["busy"]) == (True, False)


def test_the_command_reports_what_cannot_be_deleted(tmp_path, home, make_sites, capsys):
    finish(home, tmp_path / "run", config_of(), make_sites("sites")())
    moved = ask_for(home, tmp_path / "moved", config_of())
    moved.rename(tmp_path / "elsewhere")
    for options, notice in ((["--look"], "nothing was changed"), ([], "takes part in nothing any more")):
        cli.main(["coordinator", "forget", LEAVES, "--home", str(home.path), *options], standalone_mode=False)
        text = " ".join(capsys.readouterr().out.split())
        kept = "holds its contribution (2 rounds of training; no masks, no noise)"
        for sentence in (notice, kept, *NOT_RECALLED, f"because they were moved or cannot be read: {moved}"):
            assert " ".join(sentence.split()) in text
        assert f"clap train --like {tmp_path / 'run'} --without {LEAVES} --out RUN" in text


@pytest.mark.parametrize("file", ["config.json", "deployment.json", "metrics.json"])
def test_a_run_that_cannot_be_read_is_reported_and_does_not_stop_the_others(tmp_path, home, make_sites, file):
    hosts = make_sites("sites")()
    for name in ("bad", "good"):
        finish(home, tmp_path / name, config_of(), hosts)
    (tmp_path / "bad" / file).write_text("{")
    found = forget_site(home, LEAVES)
    assert (found["missing"], [trace["run"] for trace in found["runs"]]) == (
        ([], [str(tmp_path / "bad"), str(tmp_path / "good")])
        if file == "deployment.json"  # of a finished run it is not needed
        else ([str(tmp_path / "bad")], [str(tmp_path / "good")])
    )
    assert not (tmp_path / "good" / "checkpoints").exists()


def test_a_run_of_which_too_little_is_left_perhaps_holds_what_the_site_gave(tmp_path, home, make_sites):
    run = tmp_path / "run"
    finish(home, run, config_of(), make_sites("sites")())
    (run / "rounds.jsonl").unlink()
    [trace] = forget_site(home, LEAVES, look=True)["runs"]
    assert (trace["gave"], trace["rounds"]) == (True, 0)  # the coordinator's last state says so
    shutil.rmtree(run / "checkpoints")
    [trace] = forget_site(home, LEAVES)["runs"]
    assert (trace["gave"], trace["removed"]) == (None, False)


def test_an_unknown_site_is_refused(home):
    with pytest.raises(ClapError, match=f"no site 'elsewhere' was approved; approved: {', '.join(SITES)}"):
        forget_site(home, "elsewhere")
    assert not any(site.revoked for site in home.sites())


def test_every_run_that_was_asked_for_is_known_whatever_became_of_it(tmp_path, home):
    for name in ("one", "two", "one"):
        ask_for(home, tmp_path / name, config_of())
    dequeue(home.path, tmp_path / "one")
    assert known_runs(home.path) == [tmp_path / "two", tmp_path / "one"]
    (home.path / "runs.jsonl").unlink()  # a release before there was such a list: what its queue and log say
    assert known_runs(home.path) == [tmp_path / "two"]
    with (home.path / "log.jsonl").open("a") as log:
        log.write(json.dumps({"event": "run finished", "run": str(tmp_path / "one")}) + '\n{"torn')
    assert set(known_runs(home.path)) == {tmp_path / "one", tmp_path / "two"}


def test_a_run_like_another_is_handed_to_the_service(tmp_path, home, monkeypatch):
    monkeypatch.setattr(deployed, "_follow", lambda run, config, home: {"run": str(run)})
    write_status(home.path, True, {})
    old = ask_for(
        home, tmp_path / "old", config_of(min_sites=2, secure_aggregation=True, options={"density": "pooled"})
    )
    home.revoke(LEAVES)
    with pytest.raises(ClapError, match=rf"{LEAVES} of its sites not approved or revoked here; add --without"):
        deployed.train_deployed_like(old, tmp_path / "new")
    with pytest.raises(ClapError, match="a sum over 2 participants hides none of them"):
        deployed.train_deployed_like(old, tmp_path / "new", without=SITES[:2])
    with pytest.raises(ClapError, match="--without elsewhere: name each"):
        deployed.train_deployed_like(old, tmp_path / "new", without=["elsewhere"])
    assert not (tmp_path / "new").exists()
    deployed.train_deployed_like(old, tmp_path / "new", without=[LEAVES])
    assert read_specification(tmp_path / "new") == dataclasses.replace(read_specification(old), sites=tuple(REST))
    assert tmp_path / "new" in queued(home.path)


def test_sites_are_left_out_of_a_new_run_by_name(tmp_path, home, monkeypatch):
    monkeypatch.setattr(deployed, "_follow", lambda run, config, home: {})
    write_status(home.path, True, {})
    given: dict[str, Any] = {"coordinator": home.path, "method": "clap"}
    deployed.train_deployed(tmp_path / "a", without=[LEAVES], **given)
    home.revoke(LEAVES)
    deployed.train_deployed(tmp_path / "b", without=[LEAVES], **given)  # it has no part anyway
    deployed.train_deployed(tmp_path / "c", sites=("west", "east", "south"), without=["west"], **given)
    assert [read_specification(tmp_path / name).sites for name in "abc"] == [
        REST, REST, ("east", "south"),
    ]  # fmt: skip
    with pytest.raises(ClapError, match="--without elsewhere: name each"):
        deployed.train_deployed(tmp_path / "d", without=["elsewhere"], **given)
