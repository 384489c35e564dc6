"""What faults do to a federation of three sites on this machine, and how long each takes.

Real processes over real mutual TLS on loopback. Each fault strikes a run in the middle; the table says how many rounds
went on without the site, how long it was away, and whether the model is the one that an undisturbed run gives with the
same participation.

    python benchmarks/federation_faults.py DATASET OUT [--only 'NAME;NAME'] [--rounds R]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clap_vad.deployment.local import LocalFederation, local_federation
from clap_vad.deployment.train import resume_deployed, train_deployed
from clap_vad.federation.checkpoint import read_rounds

SITES = ("site-1", "site-2", "site-3")


class Run(threading.Thread):
    """A run in the background."""

    def __init__(self, federation: LocalFederation, dataset: Path, out: Path, **choices: Any) -> None:
        super().__init__(daemon=True)
        self.federation, self.out = federation, out
        self._dataset, self._choices = dataset, choices
        self.metrics: dict[str, Any] | None = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.metrics = train_deployed(
                self.out, coordinator=self.federation.coordinator, dataset=self._dataset, **self._choices
            )
        except Exception as error:
            self.error = error

    def rounds(self) -> list[dict[str, Any]]:
        return read_rounds(self.out / "rounds.jsonl")

    def wait_for_round(self, number: int, timeout: float = 180) -> None:
        until = time.monotonic() + timeout
        while len(self.rounds()) < number:
            if time.monotonic() > until or (not self.is_alive() and self.error):
                raise SystemExit(f"{self.out}: round {number} did not come: {self.error}")
            time.sleep(0.05)


def kill(federation: LocalFederation, name: str, *roles: str) -> None:
    processes = federation.processes(name)
    for role in roles:
        os.kill(processes[role], signal.SIGKILL)


def worker_killed(federation: LocalFederation, run: Run) -> None:
    kill(federation, "site-2", "job")


def site_killed(federation: LocalFederation, run: Run) -> None:
    kill(federation, "site-2", "service", "flare", "job")
    time.sleep(5)
    federation.start(["site-2"])


def site_frozen(federation: LocalFederation, run: Run) -> None:
    pids = federation.processes("site-2").values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(15)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def coordinator_killed(federation: LocalFederation, run: Run) -> None:
    kill(federation, "", "service", "flare", "job")
    time.sleep(2)
    federation.start([""])


def server_killed(federation: LocalFederation, run: Run) -> None:
    kill(federation, "", "flare")


def job_killed(federation: LocalFederation, run: Run) -> None:
    kill(federation, "", "job")


FAULTS: dict[str, tuple[Callable[[LocalFederation, Run], None], int]] = {
    "none": (lambda federation, run: None, 3),
    "site worker kill -9": (worker_killed, 2),
    "site worker kill -9, all sites needed": (worker_killed, 3),
    "whole site kill -9, back after 5 s": (site_killed, 2),
    "whole site kill -9, back after 5 s, all sites needed": (site_killed, 3),
    "site frozen 15 s": (site_frozen, 2),
    "coordinator kill -9, back after 2 s": (coordinator_killed, 3),
    "FLARE server kill -9": (server_killed, 3),
    "coordinator's job kill -9": (job_killed, 3),
}


def strike(federation: LocalFederation, dataset: Path, out: Path, name: str, rounds: int, deadline: float) -> dict:
    fault, least = FAULTS[name]
    began = time.monotonic()
    run = Run(federation, dataset, out, sites=SITES, rounds=rounds, min_sites=least, deadline=deadline)
    run.wait_for_round(1)
    first = time.monotonic() - began
    run.wait_for_round(max(1, rounds // 4))
    struck, done = time.time(), len(run.rounds())
    fault(federation, run)
    run.join(400)
    metrics = run.metrics
    if metrics is None and not run.is_alive():  # the follower gave up with its coordinator; the run did not
        federation.wait()
        metrics = resume_deployed(out)
    if metrics is None:
        return {"fault": name, "ended": False, "error": str(run.error)}
    lines = run.rounds()
    missed = [line["round"] for line in lines if "site-2" not in line["answered"]]
    after = [t for line in lines if line["round"] > done and (t := seconds(line["time"])) > struck]
    longest = max((b - a for a, b in zip([struck, *after], after, strict=False)), default=0.0)
    whole = [seconds(line["time"]) for line in lines if line["round"] > done and len(line["answered"]) == len(SITES)]
    return {
        "fault": name,
        "ended": True,
        "seconds_to_first_round": round(first, 1),
        "rounds": [line["round"] for line in lines] == list(range(1, rounds + 1)),
        "rounds_without_the_site": len(missed),
        "longest_gap_seconds": round(longest, 1),
        "all_sites_again_after_seconds": round(min(whole) - struck, 1) if whole else None,
        "jobs": json.loads((out / "deployment.json").read_text())["segments"],
        "total_seconds": round(time.monotonic() - began, 1),
        "model_sha256": metrics["model_sha256"],
        "frame_auc": metrics["frame_auc"],
    }


def seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default=";".join(FAULTS), help="names of faults, semicolons between")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--deadline", type=float, default=10.0)
    given = parser.parse_args()
    with local_federation(given.dataset, given.out / "federation", "grouped-3", tell=print) as federation:
        for name in given.only.split(";"):
            out = given.out / name.replace(" ", "-").replace(",", "").replace("'", "")
            row = strike(federation, given.dataset, out, name, given.rounds, given.deadline)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
