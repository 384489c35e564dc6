"""``clap demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .command import Output, command

__all__ = ["demo"]


@command("demo", help="Run the whole chain on rendered videos of four sites, or on your own videos.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo-out"), show_default=True, help="Folder for everything."
)
@click.option("--videos", type=click.Path(path_type=Path), help="Your own videos, one sub-folder per site.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the rendered videos and of training.")
@click.option("--rounds", type=int, default=20, show_default=True, help="Rounds of training.")
@click.option(
    "--no-images", "images", is_flag=True, flag_value=False, default=True, help="Leave pictures out of the report."
)
@click.option("--blur", is_flag=True, help="Blur pictures so that nobody can be recognised.")
def demo(out: Path, **choices: Any) -> Output:
    """Parse, call, print."""
    from ..workflows.demo import demo as run_demo

    result = run_demo(out, **choices)
    skipped = result["skipped"]
    warning = None
    if skipped:
        warning = f"{len(skipped)} of the videos could not be used: " + "; ".join(skipped.values())
    return Output(result, _text(result), warning)


def _text(result: dict[str, Any]) -> RenderableType:
    from ..reporting.durations import byte_size, moment
    from ..workflows.demo_page import comparison_rows

    parts: list[RenderableType] = []
    sites = result["sites"]
    videos = sum(site["training_videos"] + site["test_videos"] for site in sites.values())
    counts = f"{len(sites)} site{'s' if len(sites) != 1 else ''}, {videos} video{'s' if videos != 1 else ''}"
    lines = [f"{counts}: {', '.join(sites)}."]
    if "collaborative" in result["results"]:
        lines.append(
            f"They learned one model together; {byte_size(result['bytes_up'])} of sums left "
            "them, no video, no feature, no score."
        )
    parts.append(Text("\n".join(lines)))
    if result["frame_auc"] is not None:
        table = Table("Who learned", "Frame AUC %", "Frame AP %")
        for row in comparison_rows(result["results"]):
            table.add_row(*row)
        parts.append(table)
    else:
        table = Table("Site", "Video", "Start", "End", "Peak score")
        for event in result["events"]:
            fps = event["stop_frame"] / event["stop_seconds"] if event["stop_seconds"] else None
            table.add_row(
                event["site"],
                event["video"],
                moment(event["start_frame"], fps),
                moment(event["stop_frame"], fps),
                f"{event['peak_score']:.3f}",
            )
        parts.append(table if table.row_count else Text("No event in any video."))
    parts.append(Text(f"Report: {result['report']}  ({result['seconds']:.0f} s)"))
    return Group(*parts)
