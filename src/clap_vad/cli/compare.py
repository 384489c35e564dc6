"""``clap compare``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..evaluation.comparison import COLUMNS, Row, row_texts
from ..evaluation.spread import NOTHING
from ..experiments import compare as workflow
from .command import Output, command, say
from .run_options import list_options, run_options
from .setting_options import setting_options

__all__ = ["compare", "rows_table"]


@command(
    "compare", help="Train methods in several settings over seeds and write one table. Repeat the command to resume."
)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the table and the runs.")
@list_options(workflow.compare)
@run_options("compare", defaults={"rounds": 20})
@click.option("--jobs", type=int, help="Parallel runs. [default: as many as there are cores for their threads]")
@setting_options
def compare(dataset: Path, out: Path, **choices: Any) -> Output:
    """Parse, call, print."""
    result = workflow.compare(dataset, out=out, **choices, tell=partial(say, sign=""))
    written = Text(f"written: {out / 'table.html'}, table.md, table.csv, table.json, table.svg, table.png")
    return Output(result, Group(rows_table([Row.from_json(row) for row in result["rows"]]), written))


def rows_table(rows: list[Row]) -> Table:
    """A table for a terminal, without seconds, the best round and columns in which all rows are equal."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    texts = [row_texts(row) for row in rows]
    always = {COLUMNS.index(name) for name in ("Method", "Setting", "Frame AUC %", "Frame AP %")}
    candidates = range(COLUMNS.index("Best round on test labels %"))
    shown = [i for i in candidates if i in always or len({line[i] for line in texts} - {NOTHING}) > 1]
    for i in shown:
        number = i > COLUMNS.index("Protocol")
        table.add_column(COLUMNS[i], justify="right" if number else "left", no_wrap=i > 0, overflow="fold")
    for line in texts:
        table.add_row(*(Text(line[i]) for i in shown))
    return table
