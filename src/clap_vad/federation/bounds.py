"""Bounds of a site's policy on what its runs may ask and cost: each run by itself, a year's runs, all runs ever."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from ..errors import ClapError

__all__ = ["SPANS", "UNITS", "Bounds", "read_bounds", "write_bounds"]

SPANS = ("run", "year", "ever")
"""Over what is added up: one run, the last 365 days, all time."""

UNITS = ("video", "crop")
"""Whose privacy loss is added up: one of a site's videos, or one crop of a segment of a video."""

Bounds = Mapping[str, Mapping[str, float]]
"""Name (of a schema, or a unit) -> span -> the most that is permitted. What is not there has no bound."""


def read_bounds(content: object, names: Collection[str], whole: bool, where: str) -> Bounds:
    """Bounds from a policy's entry: ``{name: {span: number or null}}``; null means no bound.

    Args:
        content: the entry.
        names: what may be bounded.
        whole: whether bounds are whole numbers from 0, else numbers above 0.
        where: file and entry, for the sentence.

    Raises:
        ClapError: it is anything else.
    """
    kind = "a whole number from 0" if whole else "a number above 0"
    shape = f"must say {{name: {{{', '.join(SPANS)}: {kind}, or null for no bound}}}}"
    if not isinstance(content, dict) or not all(isinstance(spans, dict) for spans in content.values()):
        raise ClapError(f"{where} {shape}")
    if odd := sorted(set(content) - set(names)):
        raise ClapError(f"{where} names {', '.join(odd)}; known are {', '.join(sorted(names))}")
    found = {}
    for name, spans in content.items():
        if odd := sorted(set(spans) - set(SPANS)):
            raise ClapError(f"{where}: '{name}' names {', '.join(odd)}; known are {', '.join(SPANS)}")
        bounds = {span: bound for span, bound in spans.items() if bound is not None}
        if not all(_possible(bound, whole) for bound in bounds.values()):
            raise ClapError(f"{where} {shape}")
        if bounds:
            found[name] = bounds
    return found


def write_bounds(bounds: Bounds, names: Collection[str] = ()) -> dict[str, dict[str, float | None]]:
    """As they stand in a policy, with every span by name, also for these names that have no bound."""
    return {name: {span: bounds.get(name, {}).get(span) for span in SPANS} for name in dict.fromkeys((*bounds, *names))}


def _possible(bound: object, whole: bool) -> bool:
    if whole:
        return type(bound) is int and bound >= 0
    return isinstance(bound, int | float) and not isinstance(bound, bool) and 0 < bound < math.inf
