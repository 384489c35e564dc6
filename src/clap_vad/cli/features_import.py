"""``clap features import``."""

from __future__ import annotations

from pathlib import Path

import click

from ..features.importing.axes import DOCUMENTED, LAYOUTS
from ..features.importing.importer import IMPORTERS, import_features
from .command import Output, command

__all__ = ["import_"]


@command("import", help="Import features made by others into a store. A single huge file is referenced, not copied.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, type=click.Choice(IMPORTERS.names()), help="Layout of SOURCE.")
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    help="List file or nalist.npy: the rows of each video (clap), or which videos to import in which order.",
)
@click.option("--names", type=click.Path(path_type=Path), help="List of video names for a bare nalist.npy.")
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), help="Type of the stored numbers. [default: that of SOURCE]"
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Order of the axes of each array. [default: found from the shapes of all files]",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the new store.")
def import_(
    source: Path,
    form: str,
    index: Path | None,
    names: Path | None,
    dtype: str | None,
    layout: str | None,
    out: Path,
) -> Output:
    """Import and report the result."""
    summary = import_features(form, source, out, index=index, names=names, dtype=dtype, layout=layout)
    how = "referenced in place" if summary["zero_copy"] else "copied"
    turned = summary["layout"] not in DOCUMENTED
    text = (
        f"{summary['store']}: {summary['videos']} videos, {summary['segments']} segments of {summary['crops']} x "
        f"{summary['dim']} {summary['dtype']}, {how}{', read as ' + summary['layout'] if turned else ''}"
    )
    warnings = []
    if links := summary["passed_over"]:
        warnings.append(f"{source}: {len(links)} links that lead out of it were not followed ({', '.join(links)})")
    if skipped := summary["skipped"]:
        reasons = "; ".join(f"{entry['path']}: {entry['reason']}" for entry in skipped[:5])
        more = f"; and {len(skipped) - 5} more, see --json" if len(skipped) > 5 else ""
        warnings.append(f"{source}: {len(skipped)} files or folders were left out ({reasons}{more})")
    return Output(summary, text, ". ".join(warnings) or None)
