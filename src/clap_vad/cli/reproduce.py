"""``clap reproduce``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.text import Text

from ..datasets.preparation import DATASETS
from ..evaluation.comparison import Row
from ..experiments.paper import TABLES
from ..experiments.reproduce import reproduce as run_reproduction
from .command import Output, command, say
from .compare import rows_table
from .run_options import list_option, list_options, run_options
from .setting_options import setting_options

__all__ = ["reproduce"]

_PATH = click.Path(path_type=Path)
_PROTOCOL = "for the main table: five equal shares as officially drawn, else scenes, else random"


@command("reproduce", help="Train every cell of the CLAP paper's tables on a benchmark. Repeat the command to resume.")
@click.argument("benchmark", type=click.Choice(DATASETS.names()))
@click.option("--features", required=True, type=_PATH, help="Folder of the published files, or a prepared dataset.")
@click.option(
    "--source", type=_PATH, help="Folder of lists, annotations and partitions. [default: that of the features]"
)
@click.option("--out", required=True, type=_PATH, help="Folder for the tables, the dataset and the runs.")
@list_option("--tables", ",".join(TABLES), "Which tables.", group="Data")
@list_options(run_reproduction)
@run_options("reproduce", words={"protocol": _PROTOCOL}, defaults={"rounds": 20})
@click.option("--jobs", type=int, help="Parallel runs. [default: as many as there are cores for their threads]")
@setting_options
def reproduce(benchmark: str, features: Path, out: Path, **choices: Any) -> Output:
    """Parse, call, print."""
    result = run_reproduction(benchmark, features, out, **choices, tell=partial(say, sign=""))
    parts: list[RenderableType] = []
    for table in result["tables"]:
        rows = [Row.from_json(row) for row in [*table["rows"], *result["baselines"]]]
        parts += [Text(table["title"]), rows_table(rows)]
    parts.append(Text(f"written: {out / 'reproduction.html'}, reproduction.md, reproduction.csv, reproduction.json"))
    return Output(result, Group(*parts))
