"""The declaration of a run's option: default, help, and where it applies."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..settings import Setting, option, settings_of

__all__ = ["ENGINES", "Where", "choice", "choices_of", "fact", "names_at_sites", "where"]

ENGINES = ("inprocess", "flare")
"""Engines that carry the messages of a run: this process, or NVIDIA FLARE between organisations."""


@dataclass(frozen=True)
class Where:
    """Where an option of a run applies.

    Attributes:
        group: its heading in ``--help``.
        commands: commands that take it.
        engines: engines that use it.
        settings: settings of a run that use it; empty for all.
        site: its name in the resolved run specification for sites; empty if only the coordinator needs it.
        flag: its flag on the command line, if different from the name.
        words: the default in words, if it is computed when the run begins.
        kind: ``method`` or ``strategy`` for the name of a registered one, ``names`` for a list, empty for plain values.
        listed: the option that takes a list of such values in comparisons of runs, as in ``clap compare``.
    """

    group: str
    commands: tuple[str, ...]
    engines: tuple[str, ...] = ENGINES
    settings: tuple[str, ...] = ()
    site: str = ""
    flag: str = ""
    words: str = ""
    kind: str = ""
    listed: str = ""


TRAINING = ("train", "federation local")


def choice(
    default: Any, help: str, group: str, *, commands: tuple[str, ...] = TRAINING, site: str = "", **applies: Any
) -> Any:
    """A field of a run that the user chooses: an option of these commands and of their Python functions.

    Args:
        default, help: of the option.
        group, commands, site, applies: see :class:`Where`.
    """
    return option(default, help, where=Where(group, commands, site=site, **applies))


def fact(default: Any = dataclasses.MISSING, *, site: str = "") -> Any:
    """A field of a run that follows from other options and the data; ``site`` as in :class:`Where`."""
    about = {"where": Where("", (), site=site)}
    if callable(default):
        return field(default_factory=default, metadata=about)
    return field(default=default, metadata=about)


def where(setting: Setting) -> Where:
    """Where an option of a run applies."""
    assert isinstance(setting.where, Where)
    return setting.where


def choices_of(cls: type, command: str, engine: str | None = None) -> list[Setting]:
    """The options of a command, for one engine or for any."""
    found = [setting for setting in settings_of(cls) if setting.where and command in setting.where.commands]
    return [setting for setting in found if engine is None or engine in setting.where.engines]


def names_at_sites(cls: type) -> dict[str, str]:
    """Field -> its name in the resolved run specification for sites."""
    return {setting.name: setting.where.site for setting in settings_of(cls) if setting.where and setting.where.site}
