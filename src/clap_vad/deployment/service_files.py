"""The status files of a coordinator's service, read by other processes of its machine."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import ClapError
from ..persistence import write_json
from ..records import Record, read_record

__all__ = ["CONTACTS", "FRESH", "is_fresh", "last_status", "write_contacts", "write_status"]

CONTACTS = "contacts.json"
"""When each site last made contact: name -> seconds since the epoch."""

FRESH = 12.0
"""A site counts as connected for this many seconds after its last contact; it makes contact every 2 seconds."""

_STATUS = "status.json"


class _Status(Record):
    """That file: the time of writing and of each site's last contact, seconds since the epoch."""

    time: float
    running: bool
    contacts: dict[str, float]


def write_contacts(home: Path, contacts: dict[str, float]) -> None:
    """Write down when sites last made contact."""
    write_json(home / CONTACTS, contacts)


def write_status(home: Path, running: bool, contacts: dict[str, float]) -> None:
    """Write down that the service is running now, or has ended."""
    write_json(home / _STATUS, {"time": time.time(), "running": running, "contacts": contacts})


def last_status(home: Path) -> tuple[float, dict[str, float]]:
    """Seconds since the service last wrote its status (infinity if it has ended), and its contacts."""
    try:
        status = read_record(home / _STATUS, _Status)
    except ClapError:
        return float("inf"), {}
    return time.time() - status.time if status.running else float("inf"), status.contacts


def is_fresh(last: float | None) -> bool:
    """Whether a site with this last contact is connected."""
    return last is not None and time.time() - last < FRESH
