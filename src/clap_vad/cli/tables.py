"""Tables of results for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from ..evaluation.spread import percent

__all__ = ["metric_text", "metrics_table"]


def metrics_table(metrics: dict[str, Any], run: Path | None) -> Table:
    """A run's frame-level metrics with the baselines in the same table."""
    title = f"{metrics['method']}, {metrics['setting']}, {metrics['supervision']}, {metrics['rounds']} rounds"
    caption = f"{metrics['seconds']} s; report: {run}/report.html" if run else ""
    if privacy := metrics.get("privacy"):
        caption = f"{_promise(privacy)}\n{caption}"
    table = Table(title=title, caption=caption or None)
    table.add_column("scores")
    table.add_column("frame AUC", justify="right")
    table.add_column("frame AP", justify="right")
    table.add_row(metrics["method"], metric_text(metrics, "frame_auc"), metric_text(metrics, "frame_ap"))
    for name, result in metrics.get("baselines", {}).items():
        table.add_row(f"baseline {name}", metric_text(result, "frame_auc"), metric_text(result, "frame_ap"))
    return table


def _promise(privacy: dict[str, Any]) -> str:
    if privacy["epsilon"] is None:
        return "clipped without noise: no differential privacy"
    known = "; its noise is known to who knows --dp-seed" if privacy["seeded"] else ""
    return f"epsilon {privacy['epsilon']:.3f}, delta {privacy['delta']:g}, unit {privacy['unit']}{known}"


def metric_text(result: dict[str, Any], metric: str) -> str:
    """A metric in percent, with its deviation where the result has one."""
    return percent(result.get(metric), result.get(f"{metric}_std"), nothing="-")
