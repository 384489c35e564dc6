"""The files of a comparison: its table as JSON, CSV, Markdown, HTML and plot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..evaluation.comparison import COLUMNS, Row, csv_table, markdown_table, row_texts, text_table
from ..evaluation.published import published_metric
from ..evaluation.spread import NOTHING
from ..persistence import write_bytes, write_json, write_text
from ..reporting.comparison import ComparedRow, comparison_marks
from ..reporting.page import Plot, Plots, Section, Table, write_page

__all__ = ["page_table", "table_notes", "write_comparison"]

_AXIS = "frame AUC, percent"
_ALWAYS_SHOWN = ("Method", "Setting", "Frame AUC %", "Frame AP %")
PUBLISHED_COLUMNS = ("Method", "Setting", "Supervision", "Strategy", "Protocol", "Published %")


def write_comparison(out: Path, table: dict[str, Any]) -> None:
    """Write ``table.csv``, ``table.md``, ``table.svg``, ``table.png``, ``table.html`` and, last, ``table.json``.

    Args:
        out: folder.
        table: the result of :func:`~clap_vad.experiments.compare.compare`.
    """
    rows = [Row.from_json(row) for row in table["rows"]]
    published = [
        (e["method"], e["setting"], e["supervision"], e["strategy"] or "–", e["protocol"] or "–", f"{e['percent']:.2f}")
        for e in table["published"]
    ]
    title = f"Comparison on {table['benchmark'] or Path(table['dataset']).resolve().name}"
    notes = table_notes(table["benchmark"])
    parts = [f"# {title}", markdown_table(rows), notes]
    sections: list[Section] = [page_table("Results", rows, notes)]
    marks = [compared for row in rows if (compared := _compared(row)) is not None]
    if marks:
        for form in ("svg", "png"):
            write_bytes(out / f"table.{form}", comparison_marks(marks, _AXIS, form))
        draw = partial(comparison_marks, marks, _AXIS)
        sections.append(Plots("In a picture", (Plot(draw, f"{_AXIS} of the {len(marks)} rows above"),)))
    if published:
        sources = "Source: " + "; ".join(dict.fromkeys(entry["source"] for entry in table["published"])) + "."
        parts += ["## Published", text_table(PUBLISHED_COLUMNS, published), sources]
        sections.append(Table("Published", PUBLISHED_COLUMNS, tuple(published), sources, prose=True))
    parts += ["## Commands", "```\n" + "\n".join(run["command"] for run in table["runs"]) + "\n```"]
    commands = tuple((Path(run["run"]).name, run["command"]) for run in table["runs"])
    sections.append(Table("Commands", ("Run", "Command"), commands, prose=True, folded=True))
    write_text(out / "table.csv", csv_table(rows))
    write_text(out / "table.md", "\n\n".join(part.rstrip("\n") for part in parts) + "\n")
    write_page(out / "table.html", title, f"{len(table['runs'])} runs of {table['rounds']} rounds.", sections)
    write_json(out / "table.json", table)


def _compared(row: Row) -> ComparedRow | None:
    """A row as a mark of the plot; None without a frame AUC."""
    if row.frame_auc is None:
        return None
    words = [row.method, row.setting, row.supervision, row.strategy if row.strategy != "fedavg" else ""]
    deviation = None if row.frame_auc_std is None else 100 * row.frame_auc_std
    published = None if row.published is None else row.published.percent
    return ComparedRow(", ".join(filter(None, words)), 100 * row.frame_auc, deviation, published, not row.seeds)


def page_table(title: str, rows: Sequence[Row], note: str) -> Table:
    """The rows for a page; columns with one common value are left out and named in the note."""
    texts = [[text.replace(" ± ", "\u00a0±\u00a0") for text in row_texts(row)] for row in rows]
    values = {i: {line[i] for line in texts} - {NOTHING} for i in range(len(COLUMNS))}
    shown = [i for i, name in enumerate(COLUMNS) if len(values[i]) > 1 or name in _ALWAYS_SHOWN]
    alike = [f"{COLUMNS[i]} {min(values[i])}" for i in values if i not in shown and values[i]]
    lines = tuple(tuple(line[i] for i in shown) for line in texts)
    full = f"{', '.join(alike)} in all rows that have one. {note}" if alike else note
    return Table(title, tuple(COLUMNS[i] for i in shown), lines, full)


def table_notes(benchmark: str | None) -> str:
    """Explanation of the numbers in a table."""
    note = (
        "Percent over all test frames, last round, mean ± standard deviation over seeds; setting local is the mean "
        "over the participants' models. The baselines train no detector and are a fixed set. Published releases report "
        "the best round on the test labels; it is not a valid result, because test labels select it."
    )
    if published_metric(benchmark or ""):
        note += " Published values are frame AUC as printed by the CLAP paper, on the features its authors released."
    return note
