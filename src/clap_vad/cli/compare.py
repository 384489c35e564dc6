"""``clap compare``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..algorithms.method import DEFAULT_METHOD
from ..evaluation.comparison import COLUMNS, Row, row_texts
from ..evaluation.spread import NOTHING
from ..experiments import compare as workflow
from .command import Output, command, say
from .setting_options import setting_options

__all__ = ["compare", "list_option", "numbers", "rows_table"]


def _names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """A list of whole numbers."""
    try:
        return [int(name) for name in _names(context, parameter, value)]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers like 0,1,2") from None


def list_option(flag: str, default: str, help: str, parse: Callable[..., Any] = _names) -> Callable[..., Any]:
    """An option that takes a list, comma-separated."""
    return click.option(flag, default=default, show_default=True, metavar="A,B,...", callback=parse, help=help)


@command("compare", help="Train methods in several settings over seeds and write one table; repeat it to resume.")
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the table and the runs.")
@list_option("--methods", DEFAULT_METHOD, "Methods.")
@list_option("--settings", "centralized,local,collaborative", "Settings.")
@list_option("--supervisions", "us", "us (no labels), ws (a label per training video), mixed.")
@list_option("--seeds", "0,1,2", "Seeds.", numbers)
@list_option("--strategies", "fedavg", "Aggregation strategies, in setting collaborative only.")
@click.option("--protocol", help="Who holds what [scene where videos have scenes, else random].")
@click.option("--rounds", type=int, default=20, show_default=True, help="Rounds of each run.")
@click.option("--test-each-round", is_flag=True, help="Adds the best round on the test labels, as releases select it.")
@click.option("--jobs", type=int, help="Runs at once [as many as there are cores for their threads].")
@setting_options
def compare(dataset: Path, out: Path, **choices: Any) -> Output:
    """Parse, call, print."""
    result = workflow.compare(dataset, out=out, **choices, tell=partial(say, sign=""))
    written = Text(f"written: {out / 'table.html'}, table.md, table.csv, table.json, table.svg, table.png")
    return Output(result, Group(rows_table([Row.from_json(row) for row in result["rows"]]), written))


def rows_table(rows: list[Row]) -> Table:
    """What fits a terminal: seconds, the best round and columns in which rows do not differ are left to the files."""
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
