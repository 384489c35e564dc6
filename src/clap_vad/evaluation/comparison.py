"""The comparison table: one row per method and setting over seeds, with baselines and published values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .published import PublishedResult
from .spread import NOTHING, mean_and_std, percent

__all__ = [
    "COLUMNS",
    "Row",
    "baseline_rows",
    "csv_table",
    "markdown_table",
    "row_texts",
    "summarise_runs",
    "text_table",
]

COLUMNS = (
    "Method",
    "Setting",
    "Supervision",
    "Strategy",
    "Protocol",
    "Seeds",
    "Frame AUC %",
    "Frame AP %",
    "Published %",
    "Difference",
    "Best round on test labels %",
    "Seconds",
)


@dataclass(frozen=True)
class Row:
    """One row of the table. Metrics are 0..1, None if the ground truth does not define them.

    Attributes:
        method: method, or "baseline: NAME".
        setting, supervision, strategy, protocol: "" if not applicable.
        seeds: seeds of the runs; empty for a baseline.
        frame_auc, frame_ap: means over seeds of the last round's results.
        frame_auc_std, frame_ap_std: sample standard deviations, None for a single seed.
        best_round_auc: mean over seeds of the AUC of the best round on the test labels, as released code selects it;
            never the result; None if rounds were not evaluated.
        seconds: mean over seeds of a run's wall time.
        published: a paper's number to compare with ``frame_auc``.
    """

    method: str
    setting: str = ""
    supervision: str = ""
    strategy: str = ""
    protocol: str = ""
    seeds: tuple[int, ...] = ()
    frame_auc: float | None = None
    frame_auc_std: float | None = None
    frame_ap: float | None = None
    frame_ap_std: float | None = None
    best_round_auc: float | None = None
    seconds: float | None = None
    published: PublishedResult | None = None

    @property
    def difference(self) -> float | None:
        """``frame_auc`` minus the published number, in percentage points."""
        if self.published is None or self.frame_auc is None:
            return None
        return 100 * self.frame_auc - self.published.percent

    def as_json(self) -> dict[str, Any]:
        """A JSON-able dict of the attributes."""
        return {**asdict(self), "seeds": list(self.seeds)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Row:
        """The row from :meth:`as_json`."""
        published = values["published"] and PublishedResult(**values["published"])
        return cls(**{**values, "seeds": tuple(values["seeds"]), "published": published})


def summarise_runs(
    runs: Mapping[int, Mapping[str, Any]], published: PublishedResult | None = None, **names: str
) -> Row:
    """The row of one cell.

    Args:
        runs: seed -> the run's metrics.
        published: published value to compare with.
        names: method, setting, supervision, strategy, protocol.

    >>> runs = {0: {"frame_auc": 0.7, "frame_ap": 0.4}, 1: {"frame_auc": 0.8, "frame_ap": 0.4}}
    >>> row = summarise_runs(runs, method="clap")
    >>> row_texts(row)[5:8]
    ('2', '75.00 ± 7.07', '40.00 ± 0.00')
    """
    auc, auc_std = mean_and_std([run.get("frame_auc") for run in runs.values()])
    ap, ap_std = mean_and_std([run.get("frame_ap") for run in runs.values()])
    best, _ = mean_and_std([run.get("frame_auc_best_round") for run in runs.values()])
    seconds, _ = mean_and_std([run.get("seconds") for run in runs.values()])
    return Row(
        **names,
        seeds=tuple(runs),
        frame_auc=auc,
        frame_auc_std=auc_std,
        frame_ap=ap,
        frame_ap_std=ap_std,
        best_round_auc=best,
        seconds=seconds,
        published=published,
    )


def baseline_rows(baselines: Mapping[str, Mapping[str, float | None]]) -> list[Row]:
    """The rows of :func:`~clap_vad.evaluation.baseline.baseline_table`."""
    return [
        Row(f"baseline: {name}", supervision="us", frame_auc=result["frame_auc"], frame_ap=result["frame_ap"])
        for name, result in baselines.items()
    ]


def row_texts(row: Row) -> tuple[str, ...]:
    """The row for display, in percent, one text per entry of :data:`COLUMNS`."""
    return (
        row.method,
        *(text or NOTHING for text in (row.setting, row.supervision, row.strategy, row.protocol)),
        str(len(row.seeds)) if row.seeds else NOTHING,
        percent(row.frame_auc, row.frame_auc_std),
        percent(row.frame_ap, row.frame_ap_std),
        f"{row.published.percent:.2f}" if row.published else NOTHING,
        f"{row.difference:+.2f}" if row.difference is not None else NOTHING,
        percent(row.best_round_auc),
        f"{row.seconds:.1f}" if row.seconds is not None else NOTHING,
    )


def markdown_table(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    return text_table(COLUMNS, [row_texts(row) for row in rows])


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Texts as a Markdown table; columns after the fifth are right-aligned as numbers.

    >>> print(text_table(("a", "b"), [("1", "x|y")]), end="")
    | a | b |
    |---|---|
    | 1 | x\\|y |
    """
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "".join("---:|" if i > 4 else "---|" for i in range(len(columns))),
    ]
    lines += ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def csv_table(rows: Sequence[Row], **columns: Sequence[str]) -> str:
    """The table as CSV for further processing: fractions instead of percent, not rounded, empty if undefined.

    Args:
        rows: rows of the table.
        columns: further columns, name -> one text per row.
    """
    text = io.StringIO()
    fields = [name for name in Row.__dataclass_fields__ if name != "published"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*fields, "published", "published_source", "difference", *columns])
    for row, *others in zip(rows, *columns.values(), strict=True):
        values = {**asdict(row), "seeds": " ".join(map(str, row.seeds))}
        source = (row.published.percent / 100, row.published.source) if row.published else ("", "")
        difference = "" if row.difference is None else row.difference / 100
        writer.writerow(
            ["" if values[name] is None else values[name] for name in fields] + [*source, difference, *others]
        )
    return text.getvalue()
