"""Options that the settings of every registered method become: no method is named here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from ..algorithms.method import METHODS

__all__ = ["method_options"]


def method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option per setting of any method; they arrive together as ``options``, only those that were given."""
    settings: dict[str, tuple[dataclasses.Field[Any], list[str]]] = {}
    for method in METHODS:
        for setting in dataclasses.fields(METHODS[method]):
            settings.setdefault(setting.name, (setting, []))[1].append(
                f"{method}: {'none' if setting.default == '' else setting.default}"
            )
    names = list(settings)

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in names}
        options = {name: value for name, value in given.items() if value is not None}
        return function(options=options, **arguments)

    for name in reversed(names):
        setting, defaults = settings[name]
        choices = setting.metadata.get("choices")
        kind = click.Choice(choices) if choices else type(setting.default)
        text = f"{setting.metadata['help']} [{'; '.join(defaults)}]"
        run = click.option(f"--{name.replace('_', '-')}", name, type=kind, default=None, help=text)(run)
    return run
