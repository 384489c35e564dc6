"""Bounds of a site's policy on the questions and the cost of runs: of one run, of a year, of all time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

__all__ = ["SPANS", "UNITS", "Bounds", "Span", "Unit", "without_nulls", "write_bounds"]

Span = Literal["run", "year", "ever"]
SPANS: tuple[Span, ...] = get_args(Span)
"""The periods of a bound: one run, the last 365 days, all time."""

Unit = Literal["video", "crop"]
UNITS: tuple[Unit, ...] = get_args(Unit)
"""The units of privacy loss: one video of a site, or one crop of a segment of a video."""

Bounds = Mapping[str, Mapping[str, float]]
"""Name (of a schema, or a unit) -> span -> the most that is permitted. A missing entry means no bound."""


def without_nulls(bounds: Mapping[Any, Mapping[Any, float | None]]) -> Bounds:
    """Bounds of a policy file without its null entries (no bound).

    >>> without_nulls({"video": {"run": 4, "year": None}, "crop": {"ever": None}})
    {'video': {'run': 4}}
    """
    kept = {name: {span: most for span, most in spans.items() if most is not None} for name, spans in bounds.items()}
    return {name: spans for name, spans in kept.items() if spans}


def write_bounds(bounds: Bounds, names: Collection[str] = ()) -> dict[str, dict[str, float | None]]:
    """Bounds as written in a policy file: every span by name, also for these names without a bound."""
    return {name: {span: bounds.get(name, {}).get(span) for span in SPANS} for name in dict.fromkeys((*bounds, *names))}
