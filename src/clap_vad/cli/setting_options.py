"""Options that settings become: of every registered method, strategy, extractor, benchmark and protocol alike.

None of them is named here. Each is a :class:`SettingOption`, with its group in ``--help`` and its owners, so that help
can omit what does not apply.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..algorithms.method import METHODS
from ..federation.strategy import STRATEGIES
from ..registry import Registry
from ..settings import Setting, settings_of
from ..specification.signature import default_in_words

__all__ = ["SettingOption", "add_options", "kind_of", "method_options", "setting_options"]

Owners = Mapping[str, Setting]
"""Owner (method, strategy, ...) -> its setting."""


class SettingOption(click.Option):
    """An option of the command line made from a setting.

    Attributes:
        group: its heading in ``--help``.
        chosen_by: the option that chooses one of the owners, such as ``method``; empty where it always applies.
        owners: owner -> its setting.
    """

    def __init__(
        self, *arguments: Any, group: str = "", chosen_by: str = "", owners: Owners | None = None, **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.group, self.chosen_by, self.owners = group, chosen_by, dict(owners or {})

    def help_of(self, owners: Sequence[str], shown: Sequence[str]) -> str:
        """The help for these owners, beside the settings of all shown owners."""
        return _help({owner: self.owners[owner] for owner in owners}, everybody=list(owners) == list(shown))


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option per setting of any method or strategy; given ones are passed together as ``options``."""
    return add_options(function, {"method": METHODS, "strategy": STRATEGIES}, "options")


def method_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the settings of methods alone."""
    return add_options(function, {"method": METHODS}, "options")


def add_options(
    function: Callable[..., Any],
    registries: Mapping[str, Registry[Any]],
    together: str,
    wanted: Callable[[Setting], bool] = lambda setting: True,
    settings: Callable[[Any], Iterable[Setting]] = settings_of,
    group: str = "",
) -> Callable[..., Any]:
    """Add an option per setting of registered entries; settings of the same name share an option.

    Args:
        function: of the command.
        registries: the option that chooses one of a registry's entries -> the registry.
        together: the parameter that takes the given settings, as one mapping.
        wanted: which settings become options.
        settings: of an entry.
        group: heading of ``--help``; empty for one that names the owners.
    """
    known: dict[str, tuple[str, dict[str, Setting]]] = {}
    for chooser, registry in registries.items():
        for owner in registry:
            for setting in filter(wanted, settings(registry[owner])):
                known.setdefault(setting.name, (chooser, {}))[1][owner] = setting

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        given = {name: value for name in known if (value := arguments.pop(name)) is not None}
        return function(**arguments, **{together: given})

    for name, (chooser, owners) in reversed(list(known.items())):
        first = next(iter(owners.values()))
        about: dict[str, Any] = {"group": group or f"Settings of one {chooser}", "chosen_by": chooser, "owners": owners}
        help = _help(owners, everybody=set(owners) == set(registries[chooser]))
        run = click.option(first.flag, name, cls=SettingOption, type=kind_of(first), help=help, **about)(run)
    return run


def kind_of(setting: Setting) -> Any:
    """Click's type of a setting."""
    if setting.choices:
        return click.Choice(setting.choices)
    return click.Path(path_type=Path) if setting.type is Path else setting.type


def _help(owners: Owners, everybody: bool) -> str:
    """The setting's help, with its default; owners with the same text share it.

    Owners are named unless it belongs to all of them.
    """
    texts: dict[str, dict[str, list[str]]] = {}
    for owner, setting in owners.items():
        texts.setdefault(setting.help, {}).setdefault(default_in_words(setting), []).append(owner)
    parts = []
    for text, defaults in texts.items():
        own = [owner for those in defaults.values() for owner in those]
        names = "" if everybody and len(texts) == 1 else f"{', '.join(own)}: "
        several = "; ".join(f"{words} for {', '.join(those)}" for words, those in defaults.items() if words)
        words = next(iter(defaults)) if len(defaults) == 1 else several
        parts.append(f"{names}{text}" + (f" [default: {words}]" if words else ""))
    return "  ".join(parts)
