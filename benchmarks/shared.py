"""What the benchmarks share: runs that are trained once, figures over seeds, Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import clap_vad as clap

__all__ = ["heads", "line", "percent", "table", "train_or_resume"]


def train_or_resume(run: Path, train: Callable[[], object]) -> dict[str, Any]:
    """Metrics of a run: of a finished one as they are, of a torn one after it is resumed, else of a new one."""
    if not (run / "metrics.json").exists():
        if (run / "config.json").exists():
            clap.resume(run, baselines={})
        else:
            train()
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return metrics


def percent(values: Sequence[float]) -> str:
    """Mean and standard deviation (ddof 1) of shares, in percent."""
    found = 100 * np.asarray(values)
    return f"{found.mean():.2f}" + (f" ± {found.std(ddof=1):.2f}" if len(found) > 1 else "")


def line(cells: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def heads(names: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"{line(names)}\n{'|---' * len(names)}|"


def table(names: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    return "\n".join([heads(names), *map(line, rows)])
