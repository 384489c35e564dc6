"""``clap evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .command import Output, command
from .tables import metric_text

__all__ = ["evaluate"]


@command(
    "evaluate", help="Compute frame-level metrics of finished runs; with --pool, over all their frames as one test set."
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dataset", type=click.Path(path_type=Path), help="Score this dataset's test videos instead.")
@click.option("--pool", is_flag=True, help="Evaluate the frames of several runs (folds) together.")
def evaluate(runs: tuple[Path, ...], dataset: Path | None, pool: bool) -> Output:
    """Evaluate runs and show a table."""
    from ..workflows.evaluate import evaluate as evaluate_runs

    result = evaluate_runs(runs, dataset, pool=pool)
    return Output(result, _text(result))


def _text(result: dict[str, Any]) -> RenderableType:
    rows = [*result.get("runs", []), *([] if "runs" in result and "pooled" not in result else [result])]
    table = _numbers("run", "frame AUC", "frame AP", "AP trapez.")
    for row in rows:
        sizes = (str(row["videos"]), f"{row['frames']:,}", f"{row['abnormal_frames']:,}")
        table.add_row(
            Text(row.get("run", "pooled")),
            *sizes,
            metric_text(row, "frame_auc"),
            metric_text(row, "frame_ap"),
            metric_text(row, "frame_ap_trapezoid"),
        )
    notes = [Text(f"{row.get('run', 'pooled')}: {note}") for row in rows for note in _notes(row)]
    last = rows[-1]["per_scene"] if len(rows) == 1 else {}
    scenes = _numbers("scene", "frame AUC", "frame AP")
    for scene, own in last.items():
        sizes = (str(own["videos"]), f"{own['frames']:,}", f"{own['abnormal_frames']:,}")
        scenes.add_row(Text(scene), *sizes, metric_text(own, "frame_auc"), metric_text(own, "frame_ap"))
    return Group(table, *notes, *([scenes] if last else []))


def _numbers(name: str, *metrics: str) -> Table:
    """A table of names, sizes and metrics."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(name, overflow="fold")
    for column in ("videos", "frames", "abnormal", *metrics):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _notes(row: dict[str, Any]) -> list[str]:
    """Remarks on the numbers."""
    notes = []
    if row["undefined"]:
        notes.append(f"not every metric is defined: {row['undefined']}")
    if row["cut_frames"]:
        notes.append(f"{row['cut_frames']:,} frames lie beyond the truth and were cut")
    if row["held_frames"]:
        notes.append(f"{row['held_frames']:,} frames of truth lie beyond the features; the last score was held")
    if row["videos_without_truth"]:
        notes.append(f"{len(row['videos_without_truth'])} test videos without truth were left out")
    return notes
