"""Partition protocols: registered functions, their settings, and names with parameters."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..registry import Registry
from ..settings import Setting, settings_of_function
from .dataset import Dataset, names_a_file

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "Recipe",
    "check_count",
    "numbered_participants",
    "protocol_in",
    "recipe",
    "settings_of",
    "stated_events",
    "with_parameters",
]

Protocol = Callable[..., dict[str, list[str]]]
"""A function (dataset, number of participants or None, seed, settings with defaults) -> videos by participant id."""

PROTOCOLS: Registry[Protocol] = Registry("protocol", "clap_vad.datasets.protocols")

_DEFAULT_PARTICIPANTS = 5
_KINDS: dict[type, tuple[Any, str, str]] = {  # setting type -> accepted Python type, regex in a name, description
    int: (numbers.Integral, "[0-9]{1,9}", "an integer"),
    float: (numbers.Real, r"[0-9]+(\.[0-9]+)?", "a number"),
    str: (str, ".+", "a text"),
}


@dataclass(frozen=True)
class Recipe:
    """A registered protocol and its arguments, parsed from a name and options."""

    protocol: str
    participants: int | None
    settings: dict[str, Any]


def settings_of(protocol: str) -> tuple[Setting, ...]:
    """The parameters of a protocol with a default, in the order of its signature.

    The type is that of the default; ``Annotated[float, "..."]`` gives the help of the option.

    >>> [(setting.name, setting.default) for setting in settings_of("dirichlet")], settings_of("random")
    ([('alpha', 0.5)], ())
    """
    found = settings_of_function(PROTOCOLS[protocol])
    if odd := [setting.name for setting in found if setting.type not in _KINDS]:
        raise TypeError(f"protocol '{protocol}': the default of '{odd[0]}' must be an int, a float or a str")
    return tuple(found)


def protocol_in(name: str) -> str | None:
    """The registered protocol that equals a name or its first part; None if there is none.

    >>> protocol_in("random"), protocol_in("random-10"), protocol_in("official-random-10")
    ('random', 'random', None)
    """
    heads = [protocol for protocol in PROTOCOLS if name == protocol or name.startswith(f"{protocol}-")]
    return max(heads, key=len, default=None)


def with_parameters(protocol: str) -> str:
    """The form of a name that includes the protocol's parameters.

    >>> with_parameters("dirichlet")
    'dirichlet-PARTICIPANTS-ALPHA'
    """
    return "-".join([protocol, "PARTICIPANTS", *(setting.name.upper() for setting in settings_of(protocol))])


def recipe(name: str, participants: int | None = None, settings: Mapping[str, Any] | None = None) -> Recipe | None:
    """Parse NAME[-PARTICIPANTS[-SETTINGS in the order of the signature]]; None if no protocol matches.

    A name with numbers is complete: omitted settings have their default, and options that differ are refused.

    >>> recipe("dirichlet-10-0.3")
    Recipe(protocol='dirichlet', participants=10, settings={'alpha': 0.3})
    >>> recipe("random", 4), recipe("official-scene-11")
    (Recipe(protocol='random', participants=4, settings={}), None)

    Raises:
        ClapError: a setting is unknown, invalid, or differs from the name.
    """
    protocol = protocol_in(name)
    if protocol is None:
        return None
    given = _checked(protocol, settings or {})
    if name == protocol:
        return Recipe(protocol, participants, given)
    known = settings_of(protocol)
    count, *texts = name.removeprefix(f"{protocol}-").split("-")
    if not names_a_file(name) or not re.fullmatch("[1-9][0-9]{0,8}", count) or len(texts) > len(known):
        return None
    meant: dict[str, Any] = {setting.name: setting.default for setting in known}
    for setting, text in zip(known, texts, strict=False):  # trailing settings are optional
        kind = type(setting.default)
        if not re.fullmatch(_KINDS[kind][1], text):
            return None
        meant[setting.name] = kind(text)
    asked = {"participants": participants, **given}
    for key, value in {"participants": int(count), **meant}.items():
        if asked.get(key) not in (None, value):
            flag = key.replace("_", "-")
            raise ClapError(
                f"protocol {name} means --{flag} {value}, not {asked[key]}; change the name "
                f"({with_parameters(protocol)}) or leave --{flag} out"
            )
    return Recipe(protocol, int(count), meant)


def check_count(file: Path, protocol: str, rule: str, asked: int | None, found: int) -> None:
    """Refuse a number of participants that differs from the one that the protocol gives."""
    if asked not in (None, found):
        raise ClapError(f"{file}: protocol {protocol} makes {rule}: {found}, not {asked}; leave the number out")


def numbered_participants(dataset: Dataset, protocol: str, asked: int | None) -> list[str]:
    """Ids of ``asked`` participants (default 5); refuses more participants than training videos."""
    count = _DEFAULT_PARTICIPANTS if asked is None else asked
    if count > (videos := len(dataset.train_videos)):
        raise ClapError(
            f"{dataset.path / 'videos.csv'}: {videos} training videos are too few for {count} participants; "
            f"use fewer: 'clap dataset partition DATASET --protocol {protocol} --participants P'"
        )
    width = max(2, len(str(count)))
    return [f"participant-{number:0{width}d}" for number in range(1, count + 1)]


def stated_events(dataset: Dataset) -> list[str]:
    """The event class of every training video in list order, "" if it has none; refuses a list without any."""
    events = [dataset.videos[video].event for video in dataset.train_videos]
    if not any(events):
        raise ClapError(
            f"{dataset.path / 'videos.csv'}: no training video has an event; "
            "fill the column 'event' or use --protocol random"
        )
    return events


def _checked(protocol: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    known = {setting.name: setting for setting in settings_of(protocol)}
    checked = {}
    for key, value in settings.items():
        if key not in known:
            raise ClapError(f"protocol '{protocol}' has no setting '{key}'; it has {', '.join(known) or 'none'}")
        kind = known[key].type
        allowed, _, words = _KINDS[kind]
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise ClapError(f"--{key.replace('_', '-')} is {value!r}; give {words}")
        checked[key] = kind(value)
    return checked
