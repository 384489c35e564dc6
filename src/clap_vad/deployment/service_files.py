"""What a coordinator's service tells other processes of its machine: that it is there, and whom it hears of."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import ClapError
from ..persistence import write_json
from ..records import Record, read_record

__all__ = ["CONTACTS", "FRESH", "is_fresh", "last_said", "write_contacts", "write_status"]

CONTACTS = "contacts.json"
"""When each site was last heard of: name -> seconds since the epoch."""

FRESH = 12.0
"""Seconds since a site was heard of within which it counts as connected; it is heard of every 2."""

_STATUS = "status.json"


class _Status(Record):
    """That file: seconds since the epoch at which the service was there, and at which it heard of each site."""

    time: float
    running: bool
    contacts: dict[str, float]


def write_contacts(home: Path, contacts: dict[str, float]) -> None:
    """Note when sites were last heard of."""
    write_json(home / CONTACTS, contacts)


def write_status(home: Path, running: bool, contacts: dict[str, float]) -> None:
    """Say that the service is there now, or has ended."""
    write_json(home / _STATUS, {"time": time.time(), "running": running, "contacts": contacts})


def last_said(home: Path) -> tuple[float, dict[str, float]]:
    """Seconds since the service last said that it is there, endless where it has ended, and its contacts."""
    try:
        said = read_record(home / _STATUS, _Status)
    except ClapError:
        return float("inf"), {}
    return time.time() - said.time if said.running else float("inf"), said.contacts


def is_fresh(last: float | None) -> bool:
    """Whether a site that was last heard of then is connected."""
    return last is not None and time.time() - last < FRESH
