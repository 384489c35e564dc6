"""The files of a reproduction: all tables of the paper as JSON, CSV, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..evaluation.comparison import Row, csv_table, markdown_table
from ..persistence import write_bytes, write_json, write_text
from ..reporting.page import Plot, Plots, Section, Table, write_page
from ..reporting.participants import participant_bars
from .comparison_files import page_table, table_notes

__all__ = ["write_reproduction"]

_PARTITIONS = "Partitions among participants"
_SYNTHETIC = "The features are synthetic: these numbers show that everything runs, but not results on the benchmark."


def write_reproduction(out: Path, content: Mapping[str, Any]) -> None:
    """Write ``reproduction.csv``, ``.md``, ``.html``, the plots of the partitions and, last, ``reproduction.json``.

    Args:
        out: folder.
        content: the result of :func:`~clap_vad.experiments.reproduce.reproduce`.
    """
    title = f"Reproduction of the CLAP paper's tables on {content['benchmark']}"
    baselines = [Row.from_json(row) for row in content["baselines"]]
    notes = table_notes(content["benchmark"])
    if content["synthetic"]:
        notes = f"{_SYNTHETIC} {notes}"
    commands = {_key(run): run["command"] for run in reversed(content["runs"])}  # of the first seed
    parts = [f"# {title}", notes]
    sections: list[Section] = []
    names: list[str] = []
    every: list[Row] = []
    for table in content["tables"]:
        rows = [Row.from_json(row) for row in table["rows"]] + baselines
        every += rows
        names += [table["name"]] * len(rows)
        parts += [f"## {table['title']}", markdown_table(rows)]
        sections.append(page_table(table["title"], rows, notes))
    parts += [f"## {_PARTITIONS}", *(_picture(out, held) for held in content["participants"])]
    plots = tuple(
        Plot(
            partial(participant_bars, held["participants"]),
            f"Videos per participant, protocol {held['protocol']}",
            held["protocol"],
        )
        for held in content["participants"]
    )
    if plots:
        sections.append(Plots(_PARTITIONS, plots, "Training videos per participant; labels only colour the bars."))
    runs = [(Path(run["run"]).name, run["command"]) for run in content["runs"]]
    parts += ["## Commands", "```\n" + "\n".join(command for _, command in runs) + "\n```"]
    sections.append(Table("Commands", ("Run", "Command"), tuple(runs), prose=True, folded=True))
    write_text(out / "reproduction.csv", csv_table(every, table=names, command=_commands(every, commands)))
    write_text(out / "reproduction.md", "\n\n".join(part.rstrip("\n") for part in parts) + "\n")
    seeds = ", ".join(map(str, content["seeds"]))
    subtitle = f"{len(runs)} runs of {content['rounds']} rounds; seeds {seeds}."
    write_page(out / "reproduction.html", title, subtitle, sections)
    write_json(out / "reproduction.json", content)


def _picture(out: Path, held: Mapping[str, Any]) -> str:
    """Write the plot of one protocol; returns its line in the Markdown file."""
    name = f"participants-{held['protocol']}.svg"
    write_bytes(out / name, participant_bars(held["participants"], title=held["protocol"]))
    return f"![{held['protocol']}]({name})"


def _commands(rows: Sequence[Row], commands: Mapping[tuple[str, ...], str]) -> list[str]:
    """The command of each row's first run; none for a baseline."""
    return [commands.get((row.method, row.setting, row.supervision, row.strategy, row.protocol), "") for row in rows]


def _key(run: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(run.get(name) or "") for name in ("method", "setting", "supervision", "strategy", "protocol"))
