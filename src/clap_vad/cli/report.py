"""``clap report``."""

from __future__ import annotations

from pathlib import Path

import click

from .command import Output, command

__all__ = ["report"]


@command("report", help="Write RUN/report.html: one self-contained page about a run.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    help="Dataset of the test videos, where it is not at the place the run remembers.",
)
def report(run: Path, dataset: Path | None) -> Output:
    """Write the page and say where it is."""
    from ..workflows.report import report as write_report

    page = write_report(run, dataset)
    return Output({"run": str(run), "report": str(page)}, f"Report: {page}")
