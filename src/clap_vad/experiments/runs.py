"""Train the runs of a table: finished ones are reused, unfinished ones resumed, several in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..cores import available_cores
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.baseline import baseline_table
from ..persistence import read_json
from ..processes import DIED, run_tasks
from ..progress import progress_bar
from ..workflows.train import resume, train
from .cells import PlannedRun

__all__ = ["run_all", "train_or_resume"]

_WORKER = "clap_vad.experiments.train_worker"

Done = Generator[tuple[PlannedRun, dict[str, Any]], None, None]


def run_all(
    dataset: Path,
    planned: Sequence[PlannedRun],
    *,
    jobs: int | None = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[dict[Path, dict[str, Any]], dict[str, Any]]:
    """Metrics of every run by its folder, and the dataset's baselines.

    Args:
        dataset: folder of the dataset.
        planned: runs; duplicates run once.
        jobs: parallel runs, from 2 on in separate processes, with the same results. None for as many as the cores
            allow.
        tell: called with a line of text when a run has finished.

    Raises:
        ClapError: from a run that is refused. Finished runs are kept.
    """
    unique = list({run.folder: run for run in planned}.values())
    if jobs is None:
        jobs = max(1, available_cores() // max(run.spec.threads for run in unique))
    if jobs < 1:
        raise ClapError(f"--jobs is {jobs}; at least 1 is needed")
    found = {run.folder: metrics for run in unique if (metrics := _finished(run.folder)) is not None}
    waiting = [run for run in unique if run.folder not in found]
    if found:
        tell(f"{len(found)} of {len(unique)} runs are finished already")
    # Equal for all runs: read from a finished one, or computed before the first.
    known = (metrics["baselines"] for metrics in found.values() if metrics.get("baselines"))
    baselines = next(known, None) or baseline_table(Dataset(dataset))
    done = _one_by_one(dataset, waiting, baselines) if jobs == 1 else _side_by_side(dataset, waiting, baselines, jobs)
    with progress_bar("runs", len(unique)) as advance, closing(done):
        advance(len(found))
        for run, metrics in done:
            found[run.folder] = metrics
            advance(1, note=run.folder.name)
            tell(f"{len(found)} of {len(unique)}: {run.folder.name}, {metrics['seconds']:.0f} s")
    return found, baselines


def train_or_resume(
    dataset: Path, folder: Path, arguments: Mapping[str, Any], baselines: Mapping[str, Any]
) -> dict[str, Any]:
    """Train or resume one run; returns its metrics."""
    if (folder / "config.json").exists():
        return resume(folder, baselines=baselines)
    return train(dataset, folder, baselines=baselines, **arguments)


def _finished(folder: Path) -> dict[str, Any] | None:
    file = folder / "metrics.json"
    found: dict[str, Any] | None = read_json(file) if file.exists() else None
    return found


def _one_by_one(dataset: Path, waiting: Sequence[PlannedRun], baselines: Mapping[str, Any]) -> Done:
    for run in waiting:
        yield run, train_or_resume(dataset, run.folder, run.arguments, baselines)


def _side_by_side(dataset: Path, waiting: Sequence[PlannedRun], baselines: Mapping[str, Any], jobs: int) -> Done:
    by_folder = {str(run.folder): run for run in waiting}
    tasks = [
        {"dataset": str(dataset), "folder": folder, "arguments": dict(run.arguments), "baselines": dict(baselines)}
        for folder, run in by_folder.items()
    ]
    with closing(run_tasks(_WORKER, tasks, jobs, {"CLAP_PROGRESS": "off"})) as messages:
        for task, message in messages:
            folder = task["folder"]
            if DIED in message:
                raise ClapError(f"{folder}: {message[DIED]}; repeat the command to continue, or lower --jobs")
            if "refused" in message:
                raise ClapError(message["refused"])
            yield by_folder[folder], message["metrics"]
