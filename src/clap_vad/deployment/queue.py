"""Runs that a coordinator has been asked for, in their order: files in its home that name their folders."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from ..errors import ClapError
from ..persistence import read_json, write_json
from .run_files import ENDED, RunFiles

__all__ = ["dequeue", "enqueue", "queued"]


def enqueue(home: Path, run: Path) -> None:
    """Ask the coordinator's service to go on with a run, behind those that wait already."""
    if run.resolve() not in queued(home):
        write_json(home / "queue" / f"{time.time_ns()}.json", {"run": str(run.resolve())})


def dequeue(home: Path, run: Path) -> None:
    """Take a run out, whatever its own folder says."""
    for file in (home / "queue").glob("*.json"):
        with contextlib.suppress(ClapError, KeyError, TypeError):
            if Path(read_json(file)["run"]) == run:
                file.unlink(missing_ok=True)


def queued(home: Path) -> list[Path]:
    """Folders of the runs that are still to be worked on, oldest first; what has ended is taken out."""
    runs = []
    for file in sorted((home / "queue").glob("*.json")):
        try:
            run = Path(read_json(file)["run"])
        except (ClapError, KeyError, TypeError):
            continue
        if not (run / "config.json").exists() or RunFiles(run).deployment().get("state") in ENDED:
            file.unlink(missing_ok=True)
        else:
            runs.append(run)
    return runs
