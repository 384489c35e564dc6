"""``clap features info``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from ..features.store.reader import FeatureStore
from ..features.store.statistics import describe
from .command import Output, command

__all__ = ["info"]


@command("info", help="Show shape, size, checks and statistics of a store.")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Also compare every file with the SHA-256 recorded when it was written.")
def info(store: Path, verify: bool) -> Output:
    """Describe a store; a check that fails exits with status 2."""
    data = describe(FeatureStore(store), verify=verify)
    failed = [f"{name}: {fault}" for name, fault in data["checks"].items() if fault]
    if data["not_finite"]:
        failed.append(f"{data['not_finite']} values are NaN or infinite")
    warning = f"{store}: {'; '.join(failed)}; make the store again" if failed else None
    return Output(data, _table(data), warning)


def _table(data: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    lengths, values, magnitude = data["segments_per_video"], data["features"], data["magnitude"]
    rows = {
        "store": data["store"],
        "made by": " ".join([data["extractor"], *(f"{key}={value}" for key, value in data["settings"].items())]),
        "in place": data["in_place"],
        "videos": f"{data['videos']} ({lengths['min']} to {lengths['max']} segments, median {lengths['median']:g})",
        "segments": f"{data['segments']} of {data['segment_frames']} frames ({data['frames']} frames)",
        "features": f"{data['crops']} x {data['dim']} {data['dtype']} per segment, {data['bytes'] / 1e6:.1f} MB",
        "values": values and "min {min:.4g}, max {max:.4g}, mean {mean:.4g}, std {std:.4g}".format(**values),
        "magnitude": magnitude and ", ".join(f"{float(q):.0%} {value:.4g}" for q, value in magnitude.items()),
        "crops present": f"{data['valid_share']:.1%}",
    }
    rows |= {name: fault or "ok" for name, fault in data["checks"].items()}
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, str(value))
    return table
