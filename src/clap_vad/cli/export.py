"""``clap export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .command import Output, command

__all__ = ["export"]

_FOLDER = click.Path(path_type=Path)


@command("export", help="Write the model of RUN as graphs that run without Python and torch.")
@click.argument("run", type=_FOLDER)
@click.option("--out", type=_FOLDER, required=True, help="Folder for detector.onnx, model.onnx and export.json.")
@click.option("--format", default="onnx", show_default=True, help="Of the graphs.")
@click.option("--scene", help="The camera whose own model it is to be, where its site has adapted one.")
@click.option("--causal", is_flag=True, help="No score depends on a later segment, as a live stream demands.")
def export(run: Path, out: Path, **options: Any) -> Output:
    """Parse, call, print."""
    from ..workflows.export import export as write

    result = write(run, out, **options)
    sizes = [f"{name}: {told['bytes'] / 1e6:.2f} MB" for name, told in result["files"].items()]
    threshold = "" if result["threshold"] is None else f"Threshold {result['threshold']:.4g}. "
    return Output(result, "\n".join([*sizes, f"{threshold}What goes in and comes out: {out / 'export.json'}"]))
