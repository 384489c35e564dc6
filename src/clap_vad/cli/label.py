"""``clap label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..workflows import label as workflow
from .command import Output, command, say
from .run_options import run_options
from .setting_options import method_options

__all__ = ["label"]


@command(
    "label", help="Write pseudo-labels of DATASET's training videos (video -> float32 per segment). Simulation only."
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="NPZ file to write.")
@run_options("label")
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
