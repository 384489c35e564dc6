"""Options and specifications of runs, read strictly: from arguments, from ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import ClapError
from ..persistence import read_json
from ..records import Place, fault_of, record_from
from .run import RunOptions, RunSpecification

__all__ = ["options_from", "read_specification"]


def options_from(given: Mapping[str, Any]) -> RunOptions:
    """The options of a run as given by the user; raises :class:`ClapError` for an invalid value."""
    try:
        return RunOptions(**given)
    except ValidationError as error:
        raise ClapError(fault_of(error, RunOptions, _flag)) from None


def read_specification(run: Path) -> RunSpecification:
    """The specification in a run's folder; raises :class:`ClapError` if there is none or it is invalid."""
    file = run / "config.json"
    if not file.exists():
        raise ClapError(f"{run}: no run there (config.json is missing)")
    names = [field.name for field in fields(RunSpecification)]
    # Fields from strategy_options on are newer: a run of an earlier release lacks them and has their defaults.
    needed, content = names[: names.index("strategy_options")], read_json(file)
    if not isinstance(content, dict) or not set(needed) <= content.keys() <= set(names):
        raise ClapError(f"{file}: not the configuration of a run of this release")
    spec = record_from(content, RunSpecification, str(file))
    if spec.rounds < 1 or (spec.engine == "inprocess" and (spec.threads < 1 or spec.normalise == "auto")):
        raise ClapError(f"{file}: not the configuration of a run of this release")
    return spec


def _flag(place: Place) -> str:
    return f"--{str(place[0]).replace('_', '-')}"
