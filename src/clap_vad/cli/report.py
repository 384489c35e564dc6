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
    help="Dataset of the test videos, if it has moved since the run.",
)
@click.option(
    "--plots", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the plots: PNG (300 dpi) and SVG."
)
def report(run: Path, dataset: Path | None, plots: Path | None) -> Output:
    """Write the page and report its path."""
    from ..workflows.report import report as write_report

    page = write_report(run, dataset, plots)
    text = f"Report: {page}" if plots is None else f"Report: {page}\nPlots: {plots}"
    return Output({"run": str(run), "report": str(page), "plots": None if plots is None else str(plots)}, text)
