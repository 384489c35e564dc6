"""One mechanism for everything that has settings: methods, strategies, extractors, benchmarks, and a run itself.

Settings are the fields of a frozen dataclass, each stated once by :func:`option`. From the fields follow the options of
the command line, the checks of the Python functions, and what is written into files.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import ClapError

__all__ = [
    "Setting",
    "check_settings",
    "likely",
    "make_with_settings",
    "option",
    "setting_names",
    "settings_of",
    "settings_of_function",
]

T = TypeVar("T")

_NEEDED = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", Path: "a path"}


def option(default: Any, help: str, choices: Sequence[str] = (), *, machine: bool = False, where: Any = None) -> Any:
    """A setting: a dataclass field that becomes an option of the command line of the same name.

    Args:
        default: its default; ``dataclasses.MISSING`` where a value must be given.
        help: what ``--help`` shows.
        choices: the values that are possible; empty for any of the field's type.
        machine: whether it is about this machine (a path, a device) and does not decide what the result is.
        where: what a room that knows more of its options notes about this one.
    """
    about = {"help": help, "choices": tuple(choices), "machine": machine, "where": where}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class Setting:
    """One setting: its name, type (``int``, ``float``, ``str``, ``bool``, ``Path``) and default.

    Attributes:
        choices: possible values; empty for any of the type.
        optional: whether None is a value.
        help, machine, where: see :func:`option`.
    """

    name: str
    type: type
    default: Any
    help: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False
    machine: bool = False
    where: Any = None

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"

    def check(self, value: Any) -> None:
        """Raise :class:`ClapError` for a value of another type, outside the choices, or not finite."""
        if value is None and self.optional:
            return
        accepted = (int, float) if self.type is float else self.type
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.type is not bool):
            raise ClapError(f"{self.flag} is {value!r}; {_NEEDED.get(self.type, self.type.__name__)} is needed")
        if self.choices and value not in self.choices:
            raise ClapError(f"{self.flag} is {value!r}; one of {', '.join(self.choices)} is needed")
        if isinstance(value, float) and not math.isfinite(value):
            raise ClapError(f"{self.flag} is {value}; a finite number is needed")


def settings_of(cls: type) -> list[Setting]:
    """The settings of a dataclass, in its order: fields of type int, float, str, bool, Path, Literal, or one or None.

    >>> @dataclass(frozen=True)
    ... class Loudest:
    ...     share: float = option(0.05, "part of a site's segments that is labelled")
    >>> [(setting.flag, setting.type.__name__, setting.default) for setting in settings_of(Loudest)]
    [('--share', 'float', 0.05)]
    """
    hints = get_type_hints(cls)
    return [_setting(f.name, hints[f.name], f.default, f.metadata) for f in dataclasses.fields(cls)]


def settings_of_function(function: Any) -> list[Setting]:
    """The parameters of a function that have a default; ``Annotated[float, "..."]`` brings the help of one."""
    hints, found = get_type_hints(function, include_extras=True), []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            help = " ".join(getattr(hints.get(name), "__metadata__", ()))
            found.append(Setting(name, type(parameter.default), parameter.default, help))
    return found


def _setting(name: str, hint: Any, default: Any, about: Mapping[str, Any]) -> Setting:
    optional = get_origin(hint) in (Union, types.UnionType)
    if optional:
        hint = next(one for one in get_args(hint) if one is not types.NoneType)
    choices = get_args(hint) if get_origin(hint) is Literal else about.get("choices", ())
    kind = str if choices else get_origin(hint) or hint
    more = {key: about[key] for key in ("help", "machine", "where") if key in about}
    return Setting(name, kind, default, choices=choices, optional=optional, **more)


def setting_names(cls: type) -> list[str]:
    """Names of the settings of a dataclass, in its order."""
    return [f.name for f in dataclasses.fields(cls)]


def check_settings(settings: Any) -> None:
    """Check every setting of an instance, see :meth:`Setting.check`."""
    for setting in settings_of(type(settings)):
        setting.check(getattr(settings, setting.name))


def make_with_settings(
    kind: str, name: str, cls: type[T], options: Mapping[str, Any], others: Collection[str] = ()
) -> T:
    """``cls`` with these settings, each checked; what is not given keeps its default.

    Args:
        kind, name: what it is, for sentences: ``method``, ``clap``.
        cls: its class.
        options: the settings that are given.
        others: names that a misspelt one may have meant, beside the settings of ``cls``.

    Raises:
        ClapError: a setting that it does not have, or a value that is not possible.
    """
    known = {setting.name: setting for setting in settings_of(cls)}
    for key, value in options.items():
        if key not in known:
            meant = likely(key, [*known, *others])
            raise ClapError(
                f"{kind} '{name}' has no setting '{key}'{meant}; it has {', '.join(sorted(known)) or 'none'}"
            )
        try:
            known[key].check(value)
        except ClapError as error:
            raise ClapError(f"{kind} '{name}': {error}") from None
    return cls(**options)


def likely(name: str, known: Collection[str]) -> str:
    """A question for the known name that is most like one that is not known; empty where none is like it.

    >>> likely("round", ["rounds", "seed"]), likely("x", ["rounds"])
    (" (did you mean 'rounds'?)", '')
    """
    found = difflib.get_close_matches(name, known, 1)
    return f" (did you mean '{found[0]}'?)" if found else ""
