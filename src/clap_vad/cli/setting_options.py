"""Options that the settings of every registered method and strategy become: none of them is named here."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from ..algorithms.method import METHODS
from ..federation.strategy import STRATEGIES
from ..registry import Registry

__all__ = ["METHOD_HELP", "labelled_option", "method_options", "setting_options"]

METHOD_HELP = "Default: comet, or clap where another option asks for sites that train."

labelled_option = click.option(
    "--labelled-participants",
    type=float,
    default=0.3,
    show_default=True,
    help="Part of the participants with video labels under --supervision mixed.",
)


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option per setting of any method or strategy; those that were given arrive together as ``options``."""
    return _options(function, METHODS, STRATEGIES)


def method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the settings of methods alone."""
    return _options(function, METHODS)


def _options(function: Callable[..., Any], *registries: Registry[Any]) -> Callable[..., Any]:
    settings: dict[str, tuple[dataclasses.Field[Any], list[str]]] = {}
    for registry in registries:
        for name in registry:
            for setting in dataclasses.fields(registry[name]):
                default = "none" if setting.default == "" else setting.default
                settings.setdefault(setting.name, (setting, []))[1].append(f"{name}: {default}")
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
