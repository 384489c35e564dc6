"""Settings of things that are chosen by name: fields of a frozen dataclass, checked here, options of the command line.

One description serves the Python function, the command line and ``config.json``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

from .errors import ClapError

__all__ = ["check_settings", "make_with_settings", "option", "setting_names"]

T = TypeVar("T")


def option(default: Any, help: str, choices: Sequence[str] = ()) -> Any:
    """A setting: a dataclass field that becomes an option of the command line of the same name."""
    return field(default=default, metadata={"help": help, "choices": tuple(choices)})


def setting_names(cls: type) -> list[str]:
    """Names of the settings of a dataclass, in its order."""
    return [f.name for f in dataclasses.fields(cls)]


def check_settings(settings: Any) -> None:
    """Raise :class:`ClapError` for a value outside its choices or a number that is not finite."""
    for f in dataclasses.fields(settings):
        flag, value, choices = f.name.replace("_", "-"), getattr(settings, f.name), f.metadata.get("choices")
        if choices and value not in choices:
            raise ClapError(f"--{flag} is {value!r}; one of {', '.join(choices)} is needed")
        if isinstance(value, float) and not math.isfinite(value):
            raise ClapError(f"--{flag} is {value}; a finite number is needed")


def make_with_settings(kind: str, name: str, cls: type[T], options: Mapping[str, Any]) -> T:
    """``cls`` with these settings; raises :class:`ClapError` for one it does not have."""
    known = setting_names(cls)
    for key in options:
        if key not in known:
            raise ClapError(f"{kind} '{name}' has no setting '{key}'; it has {', '.join(sorted(known)) or 'none'}")
    return cls(**options)
