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
@click.option("--format", default="onnx", show_default=True, help="Format of the graphs.")
@click.option("--scene", help="Export the model personalised for this camera.")
@click.option("--causal", is_flag=True, help="Let no score depend on later segments, as live streams need.")
def export(run: Path, out: Path, **options: Any) -> Output:
    """Parse, call, print."""
    from ..workflows.export import export as write

    result = write(run, out, **options)
    return Output(result, "\n".join(_lines(result)))


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{name}: {file['bytes'] / 1e6:.2f} MB" for name, file in result["files"].items()]
    if result["remembered"]:
        lines.append(
            f"The graphs hold {result['remembered']} feature vectors of the camera's own videos; they may go where "
            "its features may go, and nowhere else."
        )
    threshold = "" if result["threshold"] is None else f"Threshold {result['threshold']:.4g}. "
    return [*lines, f"{threshold}What goes in and comes out: {Path(result['out']) / 'export.json'}"]
