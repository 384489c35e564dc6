"""The strict readers of records about a run: from arguments, from JSON; what is wrong is one sentence."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..errors import ClapError
from ..persistence import read_json
from .run import RunOptions, RunSpecification

__all__ = ["options_from", "read_specification", "record_from_json"]

T = TypeVar("T")

_NEEDED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "True or False",
    "tuple_type": "a list of names",
    "dict_type": "an object",
    "dataclass_type": "an object of {class_name}",
    "dataclass_exact_type": "an object of {class_name}",
    "literal_error": "one of {expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le:g}",
}
"""Kinds of pydantic's errors, and what is needed instead."""


def options_from(given: Mapping[str, Any]) -> RunOptions:
    """The options of a run as somebody gives them; raises :class:`ClapError` for a value that is not possible."""
    try:
        return RunOptions(**given)
    except ValidationError as error:
        raise ClapError(_sentence(error, lambda name: f"--{name.split('.')[0].replace('_', '-')}")) from None


def read_specification(run: Path) -> RunSpecification:
    """The specification in a run's folder; raises :class:`ClapError` when there is none or it is not ours."""
    file = run / "config.json"
    if not file.exists():
        raise ClapError(f"{run}: no run there (config.json is missing)")
    names = [field.name for field in fields(RunSpecification)]
    # Those from strategy_options on came later: a run of an earlier release lacks them, and is what the defaults say.
    needed, content = names[: names.index("strategy_options")], read_json(file)
    if not isinstance(content, dict) or not set(needed) <= content.keys() <= set(names):
        raise ClapError(f"{file}: not the configuration of a run of this release")
    spec = record_from_json(RunSpecification, content, lambda why: ClapError(f"{file}: {why}; restore the file"))
    if spec.rounds < 1 or (spec.engine == "inprocess" and (spec.threads < 1 or spec.normalise == "auto")):
        raise ClapError(f"{file}: not the configuration of a run of this release")
    return spec


def record_from_json(cls: type[T], content: Mapping[str, Any], refused: Callable[[str], Exception]) -> T:
    """A record from an object of JSON, whoever has sent it.

    Args:
        cls: class of the record.
        content: the object.
        refused: makes the exception to be raised for a sentence about what is wrong.
    """
    key: Any = cls
    try:
        made: T = _adapter(key).validate_json(json.dumps(content))
        return made
    except ValidationError as error:
        raise refused(_sentence(error, lambda name: f"'{name}'")) from None
    except ClapError as error:  # terms of differential privacy check themselves
        raise refused(str(error)) from None


@lru_cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(cls)


def _sentence(error: ValidationError, named: Callable[[str], str]) -> str:
    """The first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    name, kind = named(".".join(map(str, first["loc"])) or "all of it"), first["type"]
    if kind in ("unexpected_keyword_argument", "missing", "missing_argument"):
        return f"{name} is {'missing' if 'missing' in kind else 'not known'}"
    needed = _NEEDED[kind].format(**first.get("ctx", {})) if kind in _NEEDED else first["msg"].lower()
    return f"{name} is {reprlib.repr(first['input'])}; {needed} is needed"
