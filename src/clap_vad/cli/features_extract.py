"""``clap features extract``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..features.extraction.extract import ExtractionReport, extract_features
from ..features.extraction.inputs import OtherFiles
from .command import Output, command
from .extractor_options import EXTRACTOR, extractor_options

__all__ = ["extract"]


@command("extract", help="Extract features from videos, folders of frames or track files. PATHs are files or folders.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@click.option("--extractor", required=True, type=EXTRACTOR, help="Extractor of the features.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Feature store to write.")
@click.option("--workers", type=click.IntRange(min=1), help="Parallel processes. [default: one per core]")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the stored numbers.",
)
@extractor_options
def extract(
    paths: tuple[Path, ...], extractor: str, out: Path, workers: int | None, dtype: str, settings: dict[str, Any]
) -> Output:
    report = extract_features(paths, out, extractor=extractor, settings=settings, workers=workers, dtype=dtype)
    return Output(_data(report), _text(report), report.warning)


def _data(report: ExtractionReport) -> dict[str, Any]:
    return {
        "store": str(report.store),
        "videos": len(report.videos),
        "segments": report.segments,
        "skipped": report.skipped,
        "truncated": report.truncated,
        "notes": report.notes,
        "left_out": report.left_out,
        "seconds": round(report.seconds, 3),
    }


def _text(report: ExtractionReport) -> str:
    videos = f"{len(report.videos)} video{'s' * (len(report.videos) != 1)}"
    lines = [f"{report.store}: {videos}, {report.segments} segments in {report.seconds:.1f} s"]
    lines += [f"skipped    {reason}" for reason in report.skipped.values()]
    lines += [f"truncated  {video}: {reason}" for video, reason in report.truncated.items()]
    lines += [f"note       {video}: {note}" for video, notes in report.notes.items() for note in notes]
    if others := OtherFiles.describe(report.left_out):
        lines.append(others)
    return "\n".join(lines)
