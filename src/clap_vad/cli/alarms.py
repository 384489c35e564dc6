"""``clap alarms``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..evaluation.spread import NOTHING, percent
from ..workflows import alarms as workflow
from .command import Output, command

__all__ = ["alarms"]


@command(
    "alarms",
    help="Report false alarms per hour, detected events and their delay, at a threshold chosen without labels.",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--dataset", type=click.Path(path_type=Path), help="Use the videos of this dataset, not those of the run's dataset."
)
@click.option(
    "--rate",
    type=float,
    default=workflow.DEFAULT_RATE,
    show_default=True,
    help="Choose the threshold that caps the alarm rate on the unlabelled training videos, in alarms per camera-hour.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for alarms.json and the curves as pictures.")
def alarms(run: Path, dataset: Path | None, rate: float, out: Path | None) -> Output:
    """Parse, call, print."""
    result = workflow.alarms(run, dataset=dataset, rate=rate, out=out)
    return Output(result, _text(result, out))


def _text(result: dict[str, Any], out: Path | None) -> RenderableType:
    training = result["training"]
    chosen = (
        f"threshold {result['threshold']:.4g}: at most {result['rate']:g} alarms per camera-hour on "
        f"{training['hours']:.3g} hours of training videos ({training['alarms']} there)"
    )
    scenes = _table("scene", "hours", "alarms", "false/h", "found", "recall %", "50 % s", "90 % s", "active %")
    for name, own in [("all", result), *result["per_scene"].items()]:
        scenes.add_row(
            Text(name),
            f"{own['hours']:.2f}",
            str(own["alarms"]),
            f"{own['false_alarms_per_hour']:.2f}",
            f"{own['detected']}/{own['events']}",
            percent(own["recall"]),
            _seconds(own["latency_median"]),
            _seconds(own["latency_p90"]),
            f"{100 * own['active_share']:.1f}",
        )
    rates = _table("false alarms per hour, at most", "recall %", "50 % s", "active %")
    for rate, own in result["at"].items():
        rates.add_row(rate, percent(own["recall"]), _seconds(own["latency_median"]), f"{100 * own['active_share']:.1f}")
    notes = [Text(remark) for remark in result["remarks"]]
    written = [] if out is None else [Text(f"written: {out / 'alarms.json'}, recall and latency as .svg and .png")]
    return Group(Text(chosen), scenes, Text("all, at other thresholds (read off the curve)"), rates, *notes, *written)


def _table(name: str, *numbers: str) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    table.add_column(name, overflow="fold")
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
