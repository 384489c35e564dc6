"""``clap features extract``: the settings of every extractor are options, read from its fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..features.extraction import EXTRACTORS, ExtractionReport, extract_features
from ..features.extractor import Setting, settings_of
from .command import Output, command

__all__ = ["extract"]


def _known_settings() -> dict[str, dict[str, Setting]]:
    """Setting -> extractor -> what it is there."""
    known: dict[str, dict[str, Setting]] = {}
    for extractor in EXTRACTORS:
        for entry in settings_of(EXTRACTORS[extractor]):
            known.setdefault(entry.name, {})[extractor] = entry
    return known


def _setting_options(function: Any) -> Any:
    """One option per setting; extractors that share a setting share its option."""
    for name, owners in reversed(_known_settings().items()):
        first = next(iter(owners.values()))
        texts = (
            f"{extractor}: {entry.help}" + ("" if entry.optional else f" [default: {entry.default}]")
            for extractor, entry in owners.items()
        )
        kind = click.Choice(first.choices) if first.choices else first.type
        option = click.option(f"--{name.replace('_', '-')}", name, type=kind, default=None, help="  ".join(texts))
        function = option(function)
    return function


@command("extract", help="Features of videos, folders of frames, or track files: PATHs may be files or folders.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--extractor", required=True, type=click.Choice(EXTRACTORS.names()), help="What makes the features.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Feature store to write.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes at once; by default one per core.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
@_setting_options
def extract(
    paths: tuple[Path, ...], extractor: str, out: Path, workers: int | None, dtype: str, **settings: Any
) -> Output:
    given = {name: value for name, value in settings.items() if value is not None}
    own = {entry.name for entry in settings_of(EXTRACTORS[extractor])}
    for name in given:
        if name not in own:
            option = name.replace("_", "-")
            owners = ", ".join(_known_settings()[name])
            raise click.UsageError(f"extractor '{extractor}' has no setting --{option}; it belongs to {owners}")
    report = extract_features(paths, out, extractor=extractor, settings=given, workers=workers, dtype=dtype)
    return Output(_data(report), _text(report), report.warning)


def _data(report: ExtractionReport) -> dict[str, Any]:
    return {
        "store": str(report.store),
        "videos": len(report.videos),
        "segments": report.segments,
        "skipped": report.skipped,
        "truncated": report.truncated,
        "notes": report.notes,
        "seconds": round(report.seconds, 3),
    }


def _text(report: ExtractionReport) -> str:
    videos = f"{len(report.videos)} video{'s' * (len(report.videos) != 1)}"
    lines = [f"{report.store}: {videos}, {report.segments} segments in {report.seconds:.1f} s"]
    lines += [f"skipped    {reason}" for reason in report.skipped.values()]
    lines += [f"truncated  {video}: {reason}" for video, reason in report.truncated.items()]
    lines += [f"note       {video}: {note}" for video, notes in report.notes.items() for note in notes]
    return "\n".join(lines)
