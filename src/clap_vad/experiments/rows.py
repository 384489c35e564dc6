"""Table rows from finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..evaluation.comparison import Row, summarise_runs
from ..evaluation.published import published_value
from ..persistence import read_json
from .cells import PlannedRun, train_command

__all__ = ["benchmark_of", "cell_rows", "run_records"]

_KEPT = (
    *("frame_auc", "frame_ap", "frame_auc_std", "frame_ap_std", "frame_auc_best_round", "best_round"),
    *("undefined", "seconds", "model_sha256", "bytes_up"),
)


def cell_rows(
    planned: Sequence[PlannedRun], finished: Mapping[Path, Mapping[str, Any]], benchmark: str | None
) -> list[Row]:
    """A row per cell, in order of first appearance: mean and deviation over its runs, and the published value."""
    rows = []
    for cell in dict.fromkeys(run.cell for run in planned):
        own = [run for run in planned if run.cell == cell]
        strategy, protocol = cell.strategy or "", own[0].spec.protocol
        published = published_value(
            benchmark or "", cell.method, cell.setting, cell.supervision, strategy=strategy, protocol=protocol
        )
        results = {run.spec.seed: finished[run.folder] for run in own}
        names = {**vars(cell), "strategy": strategy, "protocol": protocol or ""}
        rows.append(summarise_runs(results, published, **names))
    return rows


def run_records(
    dataset: Path, planned: Sequence[PlannedRun], finished: Mapping[Path, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Folder, command, arguments and results of every run, for ``table.json``."""
    records = []
    for run in {run.folder: run for run in planned}.values():
        metrics = finished[run.folder]
        command = train_command(dataset, run.arguments, run.folder)
        kept = {key: metrics[key] for key in _KEPT if key in metrics}
        records.append({"run": str(run.folder), "command": command, **run.arguments, **kept})
    return records


def benchmark_of(dataset: Dataset) -> str | None:
    """The benchmark that a dataset was prepared from; None for own videos."""
    file = dataset.path / "truth.json"
    content = read_json(file) if file.exists() else None
    found = content.get("dataset") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None
