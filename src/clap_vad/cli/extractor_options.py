"""Options that the settings of every registered extractor become: none of them is named here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from ..features.extraction.extractor import EXTRACTORS, Setting, named_extractor, settings_of

__all__ = ["EXTRACTOR", "extractor_options", "here_options"]


class _ExtractorName(click.ParamType):
    """``NAME`` or ``NAME:WEIGHTS``; becomes the name and the setting it stands for."""

    name = "extractor"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(EXTRACTORS.names())}][:WEIGHTS]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, Any]]:
        name, settings = named_extractor(value)
        if name not in EXTRACTORS.names():
            self.fail(f"{name!r} is not one of {', '.join(map(repr, EXTRACTORS.names()))}.", param, ctx)
        if settings and "weights" not in {entry.name for entry in settings_of(EXTRACTORS[name])}:
            self.fail(f"extractor {name!r} takes no weights; leave out {':' + settings['weights']!r}.", param, ctx)
        return name, settings


EXTRACTOR = _ExtractorName()


def extractor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option per setting; extractors that share a setting share its option. All arrive together as ``settings``.

    A setting that the extractor of the parameter ``extractor`` does not have is refused.
    """

    @functools.wraps(function)
    def run(extractor: tuple[str, dict[str, Any]], **arguments: Any) -> Any:
        name, settings = extractor
        given = {key: value for key in known if (value := arguments.pop(key)) is not None}
        own = {entry.name for entry in settings_of(EXTRACTORS[name])}
        if strange := [key for key in given if key not in own]:
            option, owners = strange[0].replace("_", "-"), ", ".join(known[strange[0]])
            raise click.UsageError(f"extractor '{name}' has no setting --{option}; it belongs to {owners}")
        return function(extractor=name, settings=settings | given, **arguments)

    known = _known_settings(lambda entry: True)
    return _with_options(run, known)


def here_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options for what a model does not say of its extractor; those that were given arrive together as ``here``."""

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        given = {key: value for key in known if (value := arguments.pop(key)) is not None}
        return function(here=given, **arguments)

    known = _known_settings(lambda entry: entry.machine or entry.name == "rate")
    return _with_options(run, known)


def _known_settings(wanted: Callable[[Setting], bool]) -> dict[str, dict[str, Setting]]:
    """Setting -> extractor -> what it is there."""
    known: dict[str, dict[str, Setting]] = {}
    for extractor in EXTRACTORS:
        for entry in filter(wanted, settings_of(EXTRACTORS[extractor])):
            known.setdefault(entry.name, {})[extractor] = entry
    return known


def _with_options(function: Callable[..., Any], known: dict[str, dict[str, Setting]]) -> Callable[..., Any]:
    for name, owners in reversed(known.items()):
        first = next(iter(owners.values()))
        kind = click.Choice(first.choices) if first.choices else first.type
        shown = f"--{name.replace('_', '-')}"
        function = click.option(shown, name, type=kind, default=None, help=_help(owners))(function)
    return function


def _help(owners: Mapping[str, Setting]) -> str:
    """What the setting is to each extractor, said once where it is the same to several."""
    texts: dict[str, list[str]] = {}
    for extractor, entry in owners.items():
        default = "" if entry.optional else f" [default: {entry.default}]"
        texts.setdefault(entry.help + default, []).append(extractor)
    return "  ".join(f"{', '.join(extractors)}: {text}" for text, extractors in texts.items())
