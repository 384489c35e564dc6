"""Python functions whose keyword arguments are the options of a run."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from ..settings import Setting
from .choice import choices_of, where
from .reading import options_from
from .run import Privacy, RunOptions

__all__ = ["default_in_words", "takes_options"]

R = TypeVar("R")
_KINDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)


def takes_options(command: str, engine: str = "inprocess") -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Add the options of a run to a function, by name, and the settings of its method and strategy.

    The function itself gets all of them, checked, as ``asked``. Its signature and docstring list them: the line
    ``{options}`` of the docstring becomes a line for each.

    Args:
        command: of these options.
        engine: only options that it uses.
    """
    known = choices_of(RunOptions, command, engine)

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)

        @functools.wraps(function)
        def run(*positional: Any, **given: Any) -> R:
            chosen = {setting.name: given.pop(setting.name) for setting in known if setting.name in given}
            options = {name: given.pop(name) for name in list(given) if name not in own.parameters or name == "asked"}
            return function(*positional, asked=options_from({**chosen, "options": options}), **given)

        run.__name__ = function.__name__.lstrip("_")
        run.__doc__ = (function.__doc__ or "").replace("{options}", "\n".join(map(_line, known)).lstrip())
        run.__signature__ = _signature(own, known)  # type: ignore[attr-defined]  # what inspect looks for
        return run

    return decorate


def default_in_words(setting: Setting) -> str:
    """The default of a setting, as ``--help`` and docstrings show it; empty without a default."""
    if setting.where is not None and where(setting).words:
        return where(setting).words
    if setting.default in (None, dataclasses.MISSING):
        return ""
    if isinstance(setting.default, bool):
        return "on" if setting.default else "off"
    if setting.default == "":
        return "none"
    return f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default)


def _line(setting: Setting) -> str:
    default = default_in_words(setting)
    text = f"{setting.name}: {setting.help}" + (f" [default: {default}]" if default else "")
    return textwrap.fill(text, 112, initial_indent="        ", subsequent_indent="            ")


def _signature(own: inspect.Signature, known: list[Setting]) -> inspect.Signature:
    hints = {**get_type_hints(RunOptions), "privacy": Privacy | None}
    options = [
        inspect.Parameter(setting.name, _KINDS[0], default=setting.default, annotation=hints[setting.name])
        for setting in known
    ]
    before = [parameter for parameter in own.parameters.values() if parameter.name != "asked"]
    places = [parameter for parameter in before if parameter.kind not in _KINDS]
    others = [parameter for parameter in before if parameter.kind in _KINDS]
    settings = inspect.Parameter("options", _KINDS[1], annotation=Any)
    return own.replace(parameters=[*places, *options, *others, settings])
