"""``clap privacy``: what left a site, what can leave one, and what could be made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..evaluation.spread import percent
from .command import Output, command

__all__ = ["audit", "ledger", "schemas"]


@command(
    "ledger", help="List every message that left a site. RUN is a run folder (with --site) or the folder of a site."
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--site", help="Site of the run.")
@click.option("--run", "run_id", help="Run of the site.")
def ledger(run: Path, site: str | None, run_id: str | None) -> Output:
    """Read and show a ledger."""
    from ..workflows.ledger import privacy_ledger

    found = privacy_ledger(run, site, run_id)
    warning = f"{found['file']}: the last line is incomplete and was skipped" if found["torn"] else None
    return Output(found, _ledger_text(found), warning)


@command("schemas", help="List everything that may leave a site, and whether any of it could grow with its videos.")
def schemas() -> Output:
    """Show the schemas."""
    from ..workflows.schemas import privacy_schemas

    found = privacy_schemas()
    warning = None if found["bounded"] else "a schema has a shape that could grow with segments or videos"
    return Output(found, _schemas_text(found), warning)


@command("audit", help="Attack collaborative RUNs, finished or not, as their coordinator could, and compare them.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rounds", type=int, default=3, show_default=True, help="Largest number of rounds to replay.")
@click.option(
    "--shadow-models",
    type=int,
    default=4,
    show_default=True,
    help="Shadow models for membership inference, each trained like the run on half of its videos. 0: none.",
)
def audit(runs: tuple[Path, ...], rounds: int, shadow_models: int) -> Output:
    """Mount the attacks and show their figures."""
    from ..audit.audit import privacy_audit

    found = privacy_audit(runs, rounds, shadow_models)
    return Output(found, _audit_text(found["runs"]))


def _ledger_text(found: dict[str, Any]) -> RenderableType:
    table = _table(("time", "step"), ("round",), ("schema", "what it holds"), ("bytes",), ("protection", "sha256"))
    for line in found["messages"]:
        number = "" if line["round"] is None else str(line["round"])
        what = (line["schema"], line["purpose"])
        table.add_row(
            *map(Text, (line["time"], line["step"], number, *what, f"{line['bytes']:,}", line["protection"])),
            Text(line["sha256"][:12]),
        )
    totals = _table(("schema",), ("messages", "under masks", "with noise", "bytes"))
    for row in found["totals"]:
        totals.add_row(
            Text(row["schema"]), *(str(row[n]) for n in ("messages", "masked", "noised")), f"{row['bytes']:,}"
        )
    return Group(table, totals, Text(f"{len(found['messages'])} messages, {found['bytes']:,} bytes: {found['file']}"))


def _schemas_text(found: dict[str, Any]) -> RenderableType:
    table = _table(("schema", "entry", "shape", "type", "range"), ("bound",), ("sum", "noise", "grows"))
    for row in found["schemas"]:
        grows = "no" if row["bounded"] else "YES"
        for number, (name, field) in enumerate((row["fields"] or {"(nothing)": None}).items()):
            head = (row["schema"] if number == 0 else "", name)
            if field is None:
                table.add_row(*head, "", "", "", "", _yes(row["sum"]), "", grows)
                continue
            shape = " x ".join(map(str, field["shape"])) or "1"
            bounds = f"{_end(field['low'], '-inf')} .. {_end(field['high'], 'inf')}"
            bound = f"{field['bound']:g}" if row["sum"] else ""
            table.add_row(*head, shape, field["dtype"], bounds, bound, _yes(row["sum"]), _yes(row["noised"]), grows)
    purposes = [Text(f"{row['schema']}: {row['purpose']}") for row in found["schemas"]]
    symbols = [Text(f"{symbol}: {meaning}") for symbol, meaning in found["symbols"].items()]
    verdict = "No shape can grow with segments or videos." if found["bounded"] else "Some shape can grow."
    return Group(table, *purposes, Text(""), *symbols, Text(verdict))


def _audit_text(runs: list[dict[str, Any]]) -> RenderableType:
    table = _table(("attack", "figure"), tuple(row["run"] for row in runs))
    for attack, figure, values in _audit_rows(runs):
        table.add_row(attack, figure, *map(Text, values))
    meanings = [
        Text(f"{row['run']}, {attack}: {row[attack]['meaning']}")
        for row in runs
        for attack in ("recovery", "isolation", "membership", "lying")
        if row[attack] is not None
    ]
    return Group(table, *meanings)


def _audit_rows(runs: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Rows of the table: (attack, figure, a value per run)."""

    def totals(kind: str, key: str) -> list[str]:
        return [f"{row['recovery']['total'][kind][key]:,}" for row in runs]

    def errors(key: str) -> list[str]:
        return ["-" if row["isolation"][key] is None else f"{row['isolation'][key]:.2g}" for row in runs]

    kinds = {
        "attacked": "from updates",
        "chance_gaussian": "chance, random rows",
        "chance_other_participants": "chance, others' segments",
    }
    recovery = [
        ("recovery" if not number and error == 5 else "", f"within {error} %, {label}", totals(kind, f"within_{error}"))
        for error in (5, 10, 25)
        for number, (kind, label) in enumerate(kinds.items())
    ]
    members = [
        (
            "membership" if number == 0 else "",
            f"AUC by {signal.replace('_', ' ')}",
            [_area(row, signal) for row in runs],
        )
        for number, signal in enumerate(_SIGNALS)
    ]
    return [
        ("seen", "secure aggregation", [_yes(row["secure_aggregation"]) for row in runs]),
        ("", "rounds replayed", [str(row["rounds"]) for row in runs]),
        ("", "messages", [f"{row['seen']['messages']:,}" for row in runs]),
        ("", "questions answered one by one", [_part(row["seen"]) for row in runs]),
        *recovery,
        ("", "of distinct training vectors", totals("attacked", "targets")),
        ("isolation", "cohorts summed", [str(row["isolation"]["cohorts"]) for row in runs]),
        ("", "error of one site's feature sums", errors("feature_moments_error")),
        ("", "error of its feature mean", errors("feature_mean_error")),
        ("", "error of its update", errors("update_error")),
        *members,
        *_lying_rows(runs),
    ]


def _lying_rows(runs: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """Rows about a lying coordinator, if a run was attacked that way."""
    if all(row["lying"] is None for row in runs):
        return []

    def cells(write: Callable[[dict[str, Any]], str]) -> list[str]:
        return ["-" if row["lying"] is None else write(row["lying"]) for row in runs]

    def rows(found: list[dict[str, Any]] | None) -> str:
        if found is None:
            return "-"
        chance = sum(max(row["chance_gaussian"], row["chance_density"]) for row in found)
        close, whole, groups = (sum(row[key] for row in found) for key in ("within_5", "rows", "chance_groups"))
        return f"{close:,} of {whole:,} (chance {chance}, groups {groups})"

    def mean(found: list[dict[str, Any]], key: str) -> float:
        return sum(row[key] for row in found) / len(found)

    def extremes(found: list[dict[str, Any]]) -> str:
        return f"{sum(row['within_5'] for row in found)} of {sum(row['extremes'] for row in found)}"

    def off(found: list[dict[str, Any]]) -> str:
        return f"{mean(found, 'off'):.2g}; {mean(found, 'off_averaged'):.2g}"

    def exact(found: list[dict[str, Any]]) -> str:
        return "; ".join(f"{100 * mean(found, key):.0f}" for key in ("exact", "exact_averaged", "exact_guessed"))

    def error(found: dict[str, Any]) -> str:
        return "-" if found["sizes"] is None else "; ".join(f"{found[key]:.2g}" for key in _RELEASES)

    return [
        ("lying", "rows within 5 %", cells(lambda lied: rows(lied["slabs"]))),
        ("", "rows, with all other sites' help", cells(lambda lied: rows(lied["collusion"]))),
        ("", "extreme rows isolated", cells(lambda lied: extremes(lied["extremes"]))),
        ("", "counts off by; asked in all rounds", cells(lambda lied: off(lied["counts"]))),
        ("", "% exact; in all rounds; guessed", cells(lambda lied: exact(lied["counts"]))),
        ("", f"error of one site's {', '.join(_RELEASES)}", cells(lambda lied: error(lied["differencing"]))),
        (
            "",
            "sums over few crops revealed",
            cells(lambda lied: f"{lied['subtraction']['opened']:,} of {lied['subtraction']['sums']:,}"),
        ),
    ]


_RELEASES = ("sizes", "moments", "expect")


_SIGNALS = ("loss", "confidence", "likelihood_ratio")


def _area(row: dict[str, Any], signal: str) -> str:
    found = row["membership"][signal]
    if found is None:
        return "-"
    return f"{percent(found['auc'])} ({percent(found['low'])} to {percent(found['high'])})"


def _part(seen: dict[str, Any]) -> str:
    return f"{seen['questions_answered_one_by_one']} of {seen['questions']}"


def _yes(true: bool) -> str:
    return "yes" if true else "no"


def _end(value: float | None, infinite: str) -> str:
    return infinite if value is None else f"{value:g}"


def _table(*groups: tuple[str, ...]) -> Table:
    """Columns in groups of text and numbers by turns: the second, fourth ... group is aligned to the right."""
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for number, names in enumerate(groups):
        for name in names:
            table.add_column(Text(name), justify="right" if number % 2 else "left", overflow="fold")
    return table
