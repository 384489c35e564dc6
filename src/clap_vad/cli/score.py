"""``clap score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..core.events.policy import EventPolicy
from ..features.extraction.inputs import OtherFiles
from ..reporting.annotate import DEFAULT_SIDE
from .command import Output, command
from .extractor_options import machine_options

__all__ = ["score"]

_FILE = click.Path(path_type=Path)


@command("score", help="Score video files with the model of RUN and find events in them.")
@click.argument("run", type=_FILE)
@click.argument("videos", type=click.Path(path_type=Path, readable=False), nargs=-1, required=True, metavar="VIDEO...")
@click.option("--scene", help="Use the model personalised for this camera.")
@click.option("--onnx", type=_FILE, help="Score with the graph in this folder of 'clap export', in onnxruntime.")
@click.option("--report", type=_FILE, help="HTML page to write: score curves, events, pictures of their peaks.")
@click.option("--scores", type=_FILE, help="NPZ file to write: video -> one score per segment.")
@click.option(
    "--annotate",
    type=_FILE,
    metavar="DIR",
    help="Folder for annotated copies of the videos (MP4) that show score and events.",
)
@click.option(
    "--annotate-side",
    type=int,
    default=DEFAULT_SIDE,
    show_default=True,
    help="Largest side of annotated pictures, in pixels.",
)
@click.option("--plots", type=_FILE, metavar="DIR", help="Folder for the plots of the report: PNG (300 dpi) and SVG.")
@click.option("--threshold", type=float, help="Segments with this score or a higher one belong to an event.")
@click.option(
    "--quantile",
    type=float,
    help="Instead: use this quantile of the training scores as the threshold. [default: the model's own, 0.99]",
)
@click.option(
    "--max-gap",
    type=float,
    default=EventPolicy.max_gap,
    show_default=True,
    help="Events at most this many seconds apart become one event.",
)
@click.option(
    "--min-length",
    type=float,
    default=EventPolicy.min_length,
    show_default=True,
    help="Events shorter than this many seconds are dropped.",
)
@click.option(
    "--no-images", "images", is_flag=True, flag_value=False, default=True, help="Leave pictures out of the report."
)
@click.option("--blur", is_flag=True, help="Blur pictures so that nobody can be recognised.")
@machine_options
def score(run: Path, videos: tuple[Path, ...], **options: Any) -> Output:
    """Score, and print a table of events."""
    from ..workflows.score import score as score_files

    result = score_files(run, videos, **options)
    return Output(result, _text(result), _warning(result))


def _warning(result: dict[str, Any]) -> str | None:
    skipped = [entry["reason"] for entry in result["skipped"]]
    partly = [f"{video['path']}: {video['truncated']}" for video in result["videos"] if video["truncated"]]
    total = len(skipped) + len(result["videos"])
    parts = []
    if skipped:
        parts.append(f"{len(skipped)} of {total} videos could not be scored: {'; '.join(skipped)}")
    if partly:
        parts.append(f"{len(partly)} of {total} videos could be read in part only: {'; '.join(partly)}")
    if without := [entry["reason"] for entry in result["not_annotated"]]:
        parts.append(f"{len(without)} of {total} videos could not be annotated: {'; '.join(without)}")
    return "; ".join(parts) or None


def _text(result: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = []
    for video in result["videos"]:
        rate = f" at {video['fps']:g} fps" if video["fps"] else ""
        count = len(video["events"]) or "no"
        events = "event" if count == 1 else "events"
        found = f"highest score {video['max_score']:.3f}, {count} {events}"
        head = f"{video['video']}: {video['frames']} frames{rate}, {found}"
        parts.append(Text("\n  ".join([head, *video["notes"]])))
        if video["events"]:
            parts += [_table(video["events"], video["fps"]), Text("")]
    quantile = f", the {100 * result['quantile']:g} % quantile of the training scores" if result["quantile"] else ""
    parts.append(Text(f"Threshold {result['threshold']:.4g}{quantile}."))
    parts += [Text(f"{name.title()}: {result[name]}") for name in ("report", "scores", "plots") if result[name]]
    parts += [Text(f"Annotated: {file}") for file in result["annotated"].values()]
    if others := OtherFiles.describe(result["left_out"]):
        parts.append(Text(others))
    return Group(*parts)


def _table(events: list[dict[str, Any]], fps: float | None) -> Table:
    from ..reporting.durations import moment

    table = Table("Start", "End", "Peak at", "Peak score", box=None, header_style="bold", padding=(0, 2))
    for column in table.columns:
        column.justify = "right"
    for event in events:
        moments = [moment(event[f"{name}_frame"], fps, event[f"{name}_seconds"]) for name in ("start", "stop", "peak")]
        table.add_row(*moments, f"{event['peak_score']:.3f}")
    return table
