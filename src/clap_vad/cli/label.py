"""``clap label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..algorithms.method import METHODS
from ..workflows import label as workflow
from ..workflows.choices import NORMALISE, SETTINGS, SUPERVISIONS
from .command import Output, command, say
from .setting_options import METHOD_HELP, labelled_option, method_options

__all__ = ["label"]


@command("label", help="Pseudo-labels of DATASET's training videos (video -> float32 per segment). Simulation only.")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help=".npz to write.")
@click.option("--method", type=click.Choice(METHODS.names()), help=METHOD_HELP)
@click.option("--setting", type=click.Choice(SETTINGS), default="collaborative", show_default=True)
@click.option("--supervision", type=click.Choice(SUPERVISIONS), default="us", show_default=True)
@click.option("--protocol", help="Who holds what [scene where videos have scenes, else random].")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--normalise", type=click.Choice(NORMALISE), default="auto", show_default=True)
@labelled_option
@method_options
def label(dataset: Path, out: Path, options: dict[str, Any], **choices: Any) -> Output:
    """Parse, call, print."""
    found = workflow.label(dataset, out, **choices, **options)
    for remark in found["remarks"]:
        say(remark)
    text = (
        f"{found['labelled_segments']} of {found['segments']} segments labelled anomalous, in "
        f"{found['labelled_videos']} of {found['videos']} videos; written to {out}"
    )
    return Output(found, text)
