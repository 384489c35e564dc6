"""Status for the coordinator's operator: the service, the sites, the queued runs and recent events."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..federation.checkpoint import read_rounds
from ..trust.coordinator_home import CoordinatorHome
from .log import read_notes
from .queue import queued
from .run_files import RunFiles
from .service_files import is_fresh, last_status

__all__ = ["coordinator_status"]

_SILENT = 20.0  # seconds without a status after which a service counts as stopped
_EVENTS = ("job ended", "run failed", "run finished", "run paused", "server ended", "job did not begin")


def coordinator_status(home: CoordinatorHome) -> dict[str, Any]:
    """A JSON-able dict: ``running``, ``sites`` (connected, seconds since last seen), ``runs``, ``events``."""
    silent, contacts = last_status(home.path)
    running = silent < _SILENT
    sites = []
    for site in home.sites():
        last = contacts.get(site.name)
        seen = None if last is None else round(time.time() - last, 1)
        sites.append({**asdict(site), "connected": running and is_fresh(last), "seen_seconds_ago": seen})
    return {
        "home": str(home.path),
        "federation": home.name,
        "address": f"{home.host}:{home.port}",
        "running": running,
        "sites": sites,
        "runs": [_describe(run) for run in queued(home.path)],
        "events": read_notes(home.path, _EVENTS, 5),
    }


def _describe(run: Path) -> dict[str, Any]:
    files, rounds = RunFiles(run), read_rounds(run / "rounds.jsonl")
    deployment, job, last = files.deployment(), files.job_status(), rounds[-1] if rounds else {}
    config = files.config()
    return {
        "run": str(run),
        "method": config.get("method"),
        "state": deployment.get("state", "queued"),
        "why": deployment.get("why", ""),
        "rounds": config.get("rounds"),
        "round": last.get("round", 0),
        "loss": last.get("loss"),
        "frame_auc": last.get("frame_auc"),
        "seconds_per_round": last.get("seconds"),
        "bytes_up": sum(int(line.get("bytes_up", 0)) for line in rounds),
        "bytes_down": sum(int(line.get("bytes_down", 0)) for line in rounds),
        "jobs": deployment.get("segments", 0),
        "step": job.get("step"),
        "replied": job.get("replied", []),
        "waiting": job.get("waiting", []),
        "absent": sorted(job.get("absent") or {}),
        "refused": read_notes(run, ("reply refused",), 5),
        "left_out": {str(line.get("site")): str(line.get("why")) for line in read_notes(run, ("site left out",), 100)},
    }
