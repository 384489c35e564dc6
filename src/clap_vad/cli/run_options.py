"""Options of a run, made from the fields of its specification: none of them is named here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import click
from click.core import ParameterSource

from ..algorithms.method import METHODS
from ..errors import ClapError
from ..federation.strategy import STRATEGIES
from ..registry import Registry
from ..settings import Setting, settings_of
from ..specification.choice import ENGINES, choices_of, where
from ..specification.run import Privacy, RunOptions
from ..specification.signature import default_in_words
from .setting_options import SettingOption, kind_of

__all__ = ["RunOption", "list_option", "list_options", "names", "numbers", "refuse_useless", "run_options"]

_NAMED: dict[str, Registry[Any]] = {"method": METHODS, "strategy": STRATEGIES}


class RunOption(SettingOption):
    """An option of a run; ``engines`` are those that use it; all if none is named."""

    def __init__(self, *arguments: Any, engines: tuple[str, ...] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.engines = engines


def run_options(
    command: str, *, words: Mapping[str, str] | None = None, defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of a run that this command takes; those for differential privacy come as ``privacy``.

    Args:
        command: its name.
        words: option -> its default in words, if different from ``clap train``.
        defaults: option -> its default, if different.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(choices_of(RunOptions, command)):
            if setting.type is Privacy:
                function = _privacy_options(function)
                continue
            default = (defaults or {}).get(setting.name, setting.default)
            other = (words or {}).get(setting.name, "" if default == setting.default else str(default))
            function = _option(setting, setting.name, default, other or default_in_words(setting))(function)
        return function

    return decorate


def list_options(workflow: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add a list option for each option of a run that a workflow varies, by the lists in its signature."""
    lists = inspect.signature(workflow).parameters

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for setting in reversed(settings_of(RunOptions)):
            if setting.where and (name := where(setting).listed) in lists:
                default = ",".join(map(str, lists[name].default))
                parse = numbers if setting.type is int else names
                function = list_option(f"--{name}", default, setting.help, parse, where(setting).group)(function)
        return function

    return decorate


def list_option(
    flag: str, default: str, help: str, parse: Callable[..., Any] | None = None, group: str = ""
) -> Callable[..., Any]:
    """An option that takes a list, comma-separated."""
    text = f"{help} [default: {default}]"
    return click.option(
        flag, cls=RunOption, group=group, default=default, metavar="A,B,...", callback=parse or names, help=text
    )


def names(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """A list of names, comma-separated."""
    return [name.strip() for name in value.split(",") if name.strip()]


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """A list of whole numbers, comma-separated."""
    try:
        return [int(name) for name in names(context, parameter, value)]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers like 0,1,2") from None


def refuse_useless(engine: str) -> None:
    """Refuse given options that an engine does not use, unless they have their default value."""
    context = click.get_current_context()
    for option in context.command.params:
        name, applies = str(option.name), getattr(option, "engines", ())
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and applies and engine not in applies and context.params[name] != option.default:
            raise ClapError(f"{option.opts[0]} is not for --engine {engine}; leave it out")


def _option(setting: Setting, parameter: str, default: Any, words: str) -> Callable[..., Any]:
    place = where(setting)
    attributes: dict[str, Any] = {"cls": RunOption, "group": place.group, "engines": place.engines, "default": default}
    if setting.type is bool:
        return click.option(_flag(setting), parameter, is_flag=True, help=setting.help, **attributes)
    if place.kind == "names":
        attributes |= {"default": "", "callback": names, "metavar": "A,B,..."}
    else:
        attributes["type"] = click.Choice(_NAMED[place.kind].names()) if place.kind in _NAMED else kind_of(setting)
    only = "" if ENGINES[0] in place.engines else f"{', '.join(place.engines)}: "
    text = f"{only}{setting.help} [default: {words}]" if words else f"{only}{setting.help}"
    return click.option(_flag(setting), parameter, help=text, **attributes)


def _flag(setting: Setting) -> str:
    flag = where(setting).flag
    return f"--{flag}" if flag else setting.flag


def _privacy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option per field of :class:`Privacy`; the first one, ``--dp``, turns it on."""
    known = {_flag(setting)[2:].replace("-", "_"): setting for setting in settings_of(Privacy) if setting.where}
    known = {"dp": known.pop("dp"), **known}

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        given = {name: value for name in known if (value := arguments.pop(name)) is not None}
        return function(privacy=_privacy(given, known), **arguments)

    for name, setting in reversed(known.items()):
        run = _option(setting, name, None, default_in_words(setting))(run)
    return run


def _privacy(given: Mapping[str, Any], known: Mapping[str, Setting]) -> Privacy | None:
    if given and "dp" not in given:
        flag = _flag(known[next(iter(given))])
        raise ClapError(f"{flag} is an option of differential privacy; give --dp crop or --dp video too")
    if given and "epsilon" not in given:
        raise ClapError("--dp needs --epsilon, the privacy loss of the whole run")
    return Privacy(**{known[name].name: value for name, value in given.items()}) if given else None
