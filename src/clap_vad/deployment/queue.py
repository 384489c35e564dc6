"""A coordinator's queue: the runs still to be worked on, in order, and all runs ever requested."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from ..errors import ClapError
from ..persistence import append_line, read_json_lines, write_json
from ..records import Record, read_record
from .log import noted_runs
from .run_files import ENDED, RunFiles

__all__ = ["dequeue", "enqueue", "known_runs", "queued"]

_ALL = "runs.jsonl"


class _Queued(Record):
    """A file of ``queue/``."""

    run: str


def enqueue(home: Path, run: Path) -> None:
    """Add a run to the end of the queue of the coordinator's service."""
    if run.resolve() not in known_runs(home):
        append_line(home / _ALL, json.dumps({"run": str(run.resolve())}), durable=True)
    if run.resolve() not in queued(home):
        write_json(home / "queue" / f"{time.time_ns()}.json", {"run": str(run.resolve())})


def dequeue(home: Path, run: Path) -> None:
    """Remove a run from the queue, whatever its state."""
    for file in (home / "queue").glob("*.json"):
        with contextlib.suppress(ClapError):
            if Path(read_record(file, _Queued).run) == run:
                file.unlink(missing_ok=True)


def queued(home: Path) -> list[Path]:
    """Folders of the runs still to be worked on, oldest first; ended runs are removed from the queue."""
    runs = []
    for file in sorted((home / "queue").glob("*.json")):
        try:
            run = Path(read_record(file, _Queued).run)
        except ClapError:
            continue
        if not (run / "config.json").exists() or RunFiles(run).deployment().get("state") in ENDED:
            file.unlink(missing_ok=True)
        else:
            runs.append(run)
    return runs


def known_runs(home: Path) -> list[Path]:
    """Folders of all runs ever requested from this coordinator, whether they still exist or not.

    Earlier releases kept no list; of their runs, those named in the log and the queue are known.
    """
    found = [Path(run) for run in noted_runs(home)]
    for file in sorted((home / "queue").glob("*.json")):
        with contextlib.suppress(ClapError):
            found.append(Path(read_record(file, _Queued).run))
    found += [Path(line["run"]) for line in read_json_lines(home / _ALL) if isinstance(line.get("run"), str)]
    return list(dict.fromkeys(found))
