"""Supervises a run: submits FLARE jobs until it is finished, and ends a job when a missing site has reconnected."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..engines.flare.job import write_job
from ..errors import ClapError
from ..trust.coordinator_home import CoordinatorHome
from .flare_server import FlareServer
from .kit import CONTROLLER, WORKER
from .log import note
from .queue import dequeue
from .run_files import RunFiles
from .service_files import CONTACTS, is_fresh

__all__ = ["RunSupervisor", "give_up"]

_BACK = 6.0  # seconds that a reconnected site may stay absent from a job before the job is ended for it
_SETTLED = 20.0  # seconds of a job before it is ended for a site: other sites may still be starting
_BEGINNING = 180.0  # seconds within which a submitted job must have begun
_PAUSES = (0.0, 2.0, 5.0, 10.0, 20.0, 60.0)  # seconds before the next job after 0, 1, ... jobs without a finished step


def give_up(run: Path, home: CoordinatorHome, why: str) -> None:
    """Mark a run as failed; the service continues it only when it is resumed."""
    note(home.path, "run failed", run=str(run), why=why)
    files = RunFiles(run)
    try:
        files.write_deployment(**{"id": None, "segments": 0, **files.deployment(), "state": "failed", "why": why})
    except (ClapError, OSError):  # its folder cannot be written
        dequeue(home.path, run)


class RunSupervisor:
    """One run of a coordinator's service.

    Args:
        run: its folder.
        home: the coordinator's.
        server: where jobs are submitted.
    """

    def __init__(self, run: Path, home: CoordinatorHome, server: FlareServer) -> None:
        self._files, self._home, self._server = RunFiles(run), home, server
        self._run = run
        config = self._files.config()
        self._sites, self._least = [str(name) for name in config["sites"]], int(config["min_sites"])
        known = self._files.deployment()
        self._id = str(known.get("id") or f"run-{secrets.token_hex(6)}")
        self._jobs = int(known.get("segments", 0))
        self._job: str | None = None
        self._submitted = 0.0
        self._written: dict[str, Any] = {}
        self._missed: dict[str, float] = {}
        self._invited: list[str] = []
        self._futile = 0
        self._reached = -2
        self._not_before = 0.0

    def advance(self, contacts: Mapping[str, float]) -> None:
        """Do the next action, if any; called repeatedly.

        Args:
            contacts: site -> time of its last contact, seconds since the epoch.

        Raises:
            ClapError: the run cannot continue; the message names the cause and the remedy.
        """
        present = {name for name, last in contacts.items() if is_fresh(last)}
        if self._job is not None and not self._has_begun():
            self._wait_for_beginning()
        elif self._files.job_lives():
            self._set_state("running")
            self._recall_for_sites(contacts)
        else:
            self._after_job(present)

    def _has_begun(self) -> bool:
        return self._files.job_status().get("number") == self._jobs

    def _wait_for_beginning(self) -> None:
        if time.monotonic() - self._submitted > _BEGINNING:
            note(self._home.path, "job did not begin", run=str(self._run), number=self._jobs, job=self._job)
            assert self._job is not None  # see advance
            self._server.abort(self._job)
            self._job = None
            self._back_off()

    def _recall_for_sites(self, contacts: Mapping[str, float]) -> None:
        """End the job when an absent site has reconnected: FLARE admits no site to a job that has begun.

        A site that was only frozen rejoins the job by itself, and gets the time for it.
        """
        now, absent = time.monotonic(), dict(self._files.job_status().get("absent") or {})
        heard = [name for name, since in absent.items() if contacts.get(name, 0.0) > float(since)]
        self._missed = {name: self._missed.get(name, now) for name in heard}
        back = [name for name, since in self._missed.items() if now - since > _BACK]
        if not set(self._invited) <= self._approved():
            self._files.recall(self._jobs)  # a site was revoked: send it nothing more
        elif back and now - self._submitted > _SETTLED + _PAUSES[min(self._futile, len(_PAUSES) - 1)]:
            if not self._files.recalled(self._jobs):
                note(self._home.path, "job recalled", run=str(self._run), number=self._jobs, sites=back)
            self._files.recall(self._jobs)

    def _after_job(self, present: set[str]) -> None:
        """Between two jobs: the run is finished, failed, paused or waiting, or the next job begins."""
        status = self._files.job_status()
        if self._job is not None:
            self._note_end(status)
            self._job = None
        mine = status.get("number") == self._jobs and status.get("state") == "ended"
        end = status.get("end") if mine else None
        if end == "complete" or (self._run / "metrics.json").exists():
            note(self._home.path, "run finished", run=str(self._run))
            self._set_state("finished")
        elif end == "failed" and self._written.get("state") == "running":
            raise ClapError(str(status.get("why")))
        elif self._files.paused:
            self._files.pause(False)
            note(self._home.path, "run paused", run=str(self._run))
            self._set_state("paused")
        else:
            self._begin_next(present)

    def _note_end(self, status: Mapping[str, Any]) -> None:
        lost = status.get("state") != "ended"
        end = "lost" if lost else str(status.get("end"))
        note(self._home.path, "job ended", run=str(self._run), number=self._jobs, end=end, why=status.get("why"))
        reached = int(status.get("sequence", -1))
        if reached > self._reached or end == "recalled":
            self._futile = 0
        else:
            self._back_off()
        self._reached = max(self._reached, reached)

    def _back_off(self) -> None:
        self._futile += 1
        self._not_before = time.monotonic() + _PAUSES[min(self._futile, len(_PAUSES) - 1)]

    def _begin_next(self, present: set[str]) -> None:
        allowed = self._allowed()
        sites = [name for name in allowed if name in present]
        missing = [name for name in allowed if name not in present]
        if len(sites) < self._least:
            connected = f"{len(sites)} of the {self._least} sites needed are connected"
            self._set_state("waiting", f"{connected}; missing: {', '.join(missing)}")
        elif time.monotonic() >= self._not_before:
            self._submit(sites)

    def _allowed(self) -> list[str]:
        """The run's sites that are not revoked; raises :class:`ClapError` if they are too few."""
        self._files.check_not_forgotten()
        approved = self._approved()
        allowed = [name for name in self._sites if name in approved]
        if len(allowed) < self._least:
            gone = ", ".join(name for name in self._sites if name not in approved)
            raise ClapError(f"{gone} not approved or revoked here, and the run needs {self._least} sites; train again")
        return allowed

    def _approved(self) -> set[str]:
        return {site.name for site in self._home.sites() if not site.revoked}

    def _submit(self, sites: list[str]) -> None:
        number = self._jobs + 1
        folder = self._home.path / "submitted" / self._id
        shutil.rmtree(folder, ignore_errors=True)
        arguments = {
            "run": str(self._run),
            "id": self._id,
            "number": number,
            "contacts": str(self._home.path / CONTACTS),
        }
        write_job(folder, f"{self._id}-{number}", CONTROLLER, arguments, WORKER, sites)
        try:
            job = self._server.submit(folder)
        except ClapError as error:
            note(self._home.path, "job refused", run=str(self._run), why=str(error))
            self._back_off()
            return
        self._jobs, self._job, self._submitted = number, job, time.monotonic()
        self._invited = sites
        self._set_state("running")
        note(self._home.path, "job submitted", run=str(self._run), number=number, job=job, sites=sites)

    def _set_state(self, state: str, why: str = "") -> None:
        content = {"id": self._id, "state": state, "why": why, "segments": self._jobs}
        if content != self._written:
            self._files.write_deployment(**content)
            self._written = content
