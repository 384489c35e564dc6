"""Results as a person reads them in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

__all__ = ["metrics_table"]


def metrics_table(metrics: dict[str, Any], run: Path | None) -> Table:
    """A run's frame-level metrics with the baselines in the same table."""
    title = f"{metrics['method']}, {metrics['setting']}, {metrics['supervision']}, {metrics['rounds']} rounds"
    caption = f"{metrics['seconds']} s; report: {run}/report.html" if run else None
    table = Table(title=title, caption=caption)
    table.add_column("scores")
    table.add_column("frame AUC", justify="right")
    table.add_column("frame AP", justify="right")
    table.add_row(metrics["method"], _percent(metrics, "frame_auc"), _percent(metrics, "frame_ap"))
    for name, result in metrics.get("baselines", {}).items():
        table.add_row(f"baseline {name}", _percent(result, "frame_auc"), _percent(result, "frame_ap"))
    return table


def _percent(result: dict[str, Any], key: str) -> str:
    if result.get(key) is None:
        return "-"
    spread = result.get(f"{key}_std")
    return f"{100 * result[key]:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "")
