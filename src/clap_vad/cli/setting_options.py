"""Options that settings become: of every registered method, strategy, extractor, benchmark and protocol alike.

None of them is named here. Each is a :class:`SettingOption`, which knows the group of ``--help`` that it stands in and
whose setting it is, so that help can leave out what does not apply.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from ..algorithms.method import METHODS
from ..federation.strategy import STRATEGIES
from ..settings import Setting, settings_of
from ..specification.signature import default_in_words

__all__ = ["SettingOption", "add_options", "kind_of", "method_options", "setting_options", "settings_by_owner"]

Owners = Mapping[str, Setting]
"""Whose setting it is -> what it is there."""


class SettingOption(click.Option):
    """An option of the command line made from a setting.

    Attributes:
        group: heading of ``--help`` under which it stands.
        chosen_by: the option that chooses one of the owners, such as ``method``; empty where it always applies.
        owners: whose setting it is, with what it is there.
    """

    def __init__(
        self, *arguments: Any, group: str = "", chosen_by: str = "", owners: Owners | None = None, **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.group, self.chosen_by, self.owners = group, chosen_by, dict(owners or {})


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option per setting of any method or strategy; those that were given arrive together as ``options``."""
    strategies = settings_by_owner({name: settings_of(STRATEGIES[name]) for name in STRATEGIES})
    methods = settings_by_owner({name: settings_of(METHODS[name]) for name in METHODS})
    only = {name: owners for name, owners in strategies.items() if name not in methods}
    return add_options(_methods(function, strategies), only, "options", "Settings of a strategy", "strategy")


def method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the settings of methods alone."""
    return _methods(function, {})


def _methods(function: Callable[..., Any], others: Mapping[str, Owners]) -> Callable[..., Any]:
    """``others`` are owners that share a method's setting by name, and so its option."""
    known = settings_by_owner({name: settings_of(METHODS[name]) for name in METHODS})
    shared = {name: {**owners, **others.get(name, {})} for name, owners in known.items()}
    return add_options(function, shared, "options", "Settings of a method", "method")


def settings_by_owner(settings: Mapping[str, Iterable[Setting]]) -> dict[str, dict[str, Setting]]:
    """Setting -> whose it is -> what it is there, from the settings of each."""
    known: dict[str, dict[str, Setting]] = {}
    for owner, own in settings.items():
        for setting in own:
            known.setdefault(setting.name, {})[owner] = setting
    return known


def add_options(
    function: Callable[..., Any], known: Mapping[str, Owners], together: str, group: str = "", chosen_by: str = ""
) -> Callable[..., Any]:
    """Add an option per setting; those that are given arrive together, as one mapping.

    Args:
        function: of the command.
        known: see :func:`settings_by_owner`.
        together: the parameter that takes the mapping.
        group, chosen_by: see :class:`SettingOption`.
    """

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        given = {name: value for name in known if (value := arguments.pop(name)) is not None}
        return function(**{**arguments, together: {**arguments.get(together, {}), **given}})

    for name, owners in reversed(list(known.items())):
        first = next(iter(owners.values()))
        attributes: dict[str, Any] = {"type": kind_of(first), "default": None, "help": _help(owners)}
        option: dict[str, Any] = {"cls": SettingOption, "group": group, "chosen_by": chosen_by, "owners": owners}
        run = click.option(first.flag, name, **attributes, **option)(run)
    return run


def kind_of(setting: Setting) -> Any:
    """Click's type of a setting."""
    if setting.choices:
        return click.Choice(setting.choices)
    return click.Path(path_type=Path) if setting.type is Path else setting.type


def _help(owners: Owners) -> str:
    """What the setting is, with its default; said once where it is the same to several owners."""
    texts: dict[str, dict[str, list[str]]] = {}
    for owner, setting in owners.items():
        texts.setdefault(setting.help, {}).setdefault(default_in_words(setting), []).append(owner)
    said = [f"{text} {_defaults(defaults)}".strip() for text, defaults in texts.items()]
    if len(said) == 1:
        return said[0]
    names = [", ".join(owner for own in defaults.values() for owner in own) for defaults in texts.values()]
    return "  ".join(f"{name}: {text}" for name, text in zip(names, said, strict=True))


def _defaults(defaults: Mapping[str, list[str]]) -> str:
    if len(defaults) == 1:
        return f"[default: {next(iter(defaults))}]"
    return "[default: " + "; ".join(f"{default} for {', '.join(own)}" for default, own in defaults.items()) + "]"
