"""When a run's next job is submitted, ended, or given up: the supervisor's decisions, with a fake FLARE server."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from clap_vad.deployment import run_supervisor
from clap_vad.deployment.queue import enqueue, queued
from clap_vad.deployment.run_files import RunFiles
from clap_vad.deployment.run_supervisor import RunSupervisor, give_up
from clap_vad.errors import ClapError
from clap_vad.persistence import write_json
from clap_vad.trust.coordinator_home import ApprovedSite

SITES = ("north", "south", "east")


class Home:
    """A coordinator's folder with three approved sites."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.revoked: set[str] = set()

    def sites(self) -> list[ApprovedSite]:
        return [ApprovedSite(name, "", "", "", "", name in self.revoked) for name in SITES]


class Server:
    """Takes jobs and remembers who was asked to take part; the only part that is played."""

    def __init__(self) -> None:
        self.jobs: list[list[str]] = []
        self.aborted: list[str] = []
        self.broken = False

    def submit(self, job: Path) -> str:
        if self.broken:
            raise ClapError("FLARE's server refused the job")
        _, *sites = json.loads((job / "meta.json").read_text())["deploy_map"]["app"]
        self.jobs.append(sites)
        return f"job-{len(self.jobs)}"

    def abort(self, job: str) -> None:
        self.aborted.append(job)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_json(tmp_path / "run" / "config.json", {"sites": list(SITES), "min_sites": 2})
    return tmp_path / "run"


@pytest.fixture
def server() -> Server:
    return Server()


class Clock:
    """Replaces the supervisor's clock; advances on request."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(run_supervisor, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def flare_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the "job" is this test's, whose command line does not name FLARE."""
    monkeypatch.setattr(RunFiles, "job_lives", lambda files: files.job_status().get("state") == "running")


def heard(*names: str, ago: float = 0.0) -> dict[str, float]:
    return {name: time.time() - ago for name in names}


def works(run: Path, number: int, **content: object) -> None:
    RunFiles(run).write_job_status(number=number, pid=os.getpid(), state="running", **content)


def ends(run: Path, number: int, end: str, **content: object) -> None:
    RunFiles(run).write_job_status(number=number, pid=os.getpid(), state="ended", end=end, **content)


def state(run: Path) -> str:
    return RunFiles(run).deployment()["state"]


def test_a_job_is_submitted_to_the_sites_that_are_there_once_they_are_enough(run, home, server):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard("north"))
    assert state(run) == "waiting" and server.jobs == []
    assert RunFiles(run).deployment()["why"] == "1 of the 2 sites needed are connected; missing: south, east"
    supervisor.advance(heard("north", "east") | heard("south", ago=60))
    assert state(run) == "running" and server.jobs == [["north", "east"]]
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 1  # it has been submitted, and may take a while to begin


def test_a_finished_run_is_left_alone(run, home, server):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    works(run, 1)
    supervisor.advance(heard(*SITES))
    ends(run, 1, "complete")
    supervisor.advance(heard(*SITES))
    assert state(run) == "finished" and len(server.jobs) == 1
    enqueue(home.path, run)
    assert queued(home.path) == []


def test_a_job_is_ended_for_an_absent_site_that_has_reconnected(run, home, server, clock):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard("north", "south"))
    works(run, 1, absent={"east": time.time() - 3})
    clock.now += 15
    supervisor.advance(heard("north", "south") | heard("east", ago=5))  # heard of before it was missed: frozen, or dead
    clock.now += 10
    supervisor.advance(heard("north", "south") | heard("east", ago=5))
    assert not RunFiles(run).recalled(1)
    supervisor.advance(heard(*SITES))
    clock.now += 5  # it may come back into the job by itself
    supervisor.advance(heard(*SITES))
    assert not RunFiles(run).recalled(1)
    clock.now += 2
    supervisor.advance(heard(*SITES))
    assert RunFiles(run).recalled(1) and not RunFiles(run).recalled(2)
    ends(run, 1, "recalled")
    supervisor.advance(heard(*SITES))
    assert server.jobs == [["north", "south"], list(SITES)]


def test_a_lost_job_is_followed_by_the_next(run, home, server, monkeypatch):
    monkeypatch.setattr(run_supervisor, "_PAUSES", (0.0,))
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    RunFiles(run).write_job_status(number=1, pid=0, state="killed")
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 2


def test_jobs_without_a_finished_step_come_ever_more_slowly(run, home, server, clock):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    ends(run, 1, "waiting", sequence=3)
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 2  # it came to step 3: the next one at once
    ends(run, 2, "waiting", sequence=3)
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 2
    clock.now += 2.1
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 3
    ends(run, 3, "waiting", sequence=3)
    supervisor.advance(heard(*SITES))
    clock.now += 4.9
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 3
    clock.now += 0.2
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 4


def test_a_job_that_does_not_begin_is_ended_and_submitted_anew(run, home, server, clock):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    clock.now += 179
    supervisor.advance(heard(*SITES))
    assert server.aborted == []
    clock.now += 2
    supervisor.advance(heard(*SITES))
    clock.now += 3
    supervisor.advance(heard(*SITES))
    assert server.aborted == ["job-1"] and len(server.jobs) == 2


def test_a_revoked_site_gets_nothing_more_and_the_run_goes_on_with_enough_others(run, home, server):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    works(run, 1, absent={})
    home.revoked = {"south"}
    supervisor.advance(heard(*SITES))
    assert RunFiles(run).recalled(1)
    ends(run, 1, "recalled")
    supervisor.advance(heard(*SITES))
    assert server.jobs[1:] == [["north", "east"]]
    works(run, 2, absent={})
    home.revoked = {"south", "east"}
    supervisor.advance(heard(*SITES))  # says nothing while the job is at work
    ends(run, 2, "recalled")
    with pytest.raises(ClapError, match="south, east not approved or revoked here, and the run needs 2 sites"):
        supervisor.advance(heard(*SITES))


def test_a_failure_stops_the_run_until_it_is_resumed(run, home, server):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    works(run, 1)
    supervisor.advance(heard(*SITES))
    ends(run, 1, "failed", why="north: refused there")
    with pytest.raises(ClapError, match="north: refused there"):
        supervisor.advance(heard(*SITES))
    enqueue(home.path, run)
    give_up(run, home, "north: refused there")
    assert state(run) == "failed" and queued(home.path) == []
    assert RunFiles(run).deployment()["segments"] == 1
    RunFiles(run).write_deployment(**{**RunFiles(run).deployment(), "state": "queued"})  # as --resume does
    RunSupervisor(run, home, server).advance(heard(*SITES))
    assert len(server.jobs) == 2 and RunFiles(run).deployment()["segments"] == 2


def test_a_pause_takes_hold_after_the_step_and_is_forgotten(run, home, server):
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    works(run, 1)
    RunFiles(run).pause(True)
    supervisor.advance(heard(*SITES))
    assert state(run) == "running"
    ends(run, 1, "recalled")
    supervisor.advance(heard(*SITES))
    assert state(run) == "paused" and len(server.jobs) == 1 and not RunFiles(run).paused


def test_a_server_that_takes_no_job_is_asked_again(run, home, server, monkeypatch):
    monkeypatch.setattr(run_supervisor, "_PAUSES", (0.0,))
    server.broken = True
    supervisor = RunSupervisor(run, home, server)
    supervisor.advance(heard(*SITES))
    server.broken = False
    supervisor.advance(heard(*SITES))
    assert len(server.jobs) == 1


def test_a_run_whose_folder_cannot_be_written_is_taken_out_of_the_queue(run, home):
    enqueue(home.path, run)
    (run / "deployment.json").mkdir()
    give_up(run, home, "full")
    assert queued(home.path) == []


def test_the_queue_keeps_order_and_passes_over_what_is_gone(run, home, tmp_path):
    other = tmp_path / "other"
    write_json(other / "config.json", {"sites": ["a"], "min_sites": 1})
    for folder in (run, other, run):
        enqueue(home.path, folder)
    assert queued(home.path) == [run, other]
    (run / "config.json").unlink()
    (home.path / "queue" / "1.json").write_text("{")
    assert queued(home.path) == [other]
