"""Options that the settings of every registered extractor become: none of them is named here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from ..features.extraction.extractor import EXTRACTORS, named_extractor
from ..settings import setting_names
from .setting_options import add_options

__all__ = ["EXTRACTOR", "extractor_options", "machine_options"]


class _ExtractorName(click.ParamType):
    """``NAME`` or ``NAME:WEIGHTS``; becomes the name and its setting."""

    name = "extractor"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"[{'|'.join(EXTRACTORS.names())}][:WEIGHTS]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, Any]]:
        name, settings = named_extractor(value)
        if name not in EXTRACTORS.names():
            self.fail(f"{name!r} is not one of {', '.join(map(repr, EXTRACTORS.names()))}.", param, ctx)
        if settings and "weights" not in setting_names(EXTRACTORS[name]):
            self.fail(f"extractor {name!r} takes no weights; leave out {':' + settings['weights']!r}.", param, ctx)
        return name, settings


EXTRACTOR = _ExtractorName()


def extractor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option per setting; given ones are passed together as ``settings``.

    A setting that the extractor of the parameter ``extractor`` does not have is refused.
    """

    @functools.wraps(function)
    def run(extractor: tuple[str, dict[str, Any]], settings: dict[str, Any], **arguments: Any) -> Any:
        name, named = extractor
        own = setting_names(EXTRACTORS[name])
        if strange := [key for key in settings if key not in own]:
            owners = ", ".join(other for other in EXTRACTORS if strange[0] in setting_names(EXTRACTORS[other]))
            flag = strange[0].replace("_", "-")
            raise click.UsageError(f"extractor '{name}' has no setting --{flag}; it belongs to {owners}")
        return function(extractor=name, settings=named | settings, **arguments)

    return add_options(run, {"extractor": EXTRACTORS}, "settings")


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine options: extractor settings that a model does not store; given ones are passed together as ``here``."""
    return add_options(
        function,
        {"extractor": EXTRACTORS},
        "here",
        lambda setting: setting.machine or setting.name == "rate",
        group="Features on this machine",
    )
