"""A damaged event store is renamed, and the rows that can be read are copied to a new one.

A torn write, a bad sector or a program that writes into the file damages pages of it. Nothing is deleted: the damaged
file stays beside the new one, for repair.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...persistence import held_file

__all__ = ["SetAside", "fault_of", "identity", "is_damage", "set_aside", "set_aside_files"]

_CORRUPT, _NOT_A_DATABASE = 11, 26  # SQLITE_CORRUPT, SQLITE_NOTADB
_TABLES = ("watches", "events", "outages", "timeline")
_BESIDE = ("-wal", "-shm")
_MARK = ".damaged-"


@dataclass(frozen=True)
class SetAside:
    """The damaged file under its new name, and the number of rows copied to the new database, ``sessions`` of them."""

    path: Path
    rows: int
    sessions: int

    def sentence(self, database: Path) -> str:
        """For the operator."""
        return (
            f"{database}: the database is damaged; it was set aside as {self.path.name} and a new one was begun with "
            f"the {self.rows} rows that could be read"
        )


def is_damage(error: Exception) -> bool:
    """Whether SQLite reports that the file itself is damaged, not that it is locked, full or forbidden."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF in (_CORRUPT, _NOT_A_DATABASE)


def fault_of(path: Path) -> str | None:
    """The damage in a database; None if none is found.

    Args:
        path: its file; a missing or empty one is not damaged.

    Raises:
        sqlite3.Error: it cannot be checked, for another reason than damage.
    """
    if not path.is_file() or not path.stat().st_size:
        return None
    db = sqlite3.connect(path, timeout=5.0, isolation_level=None)
    try:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)
    finally:
        db.close()
    return None if found == "ok" else str(found)


def set_aside(path: Path, make: Callable[[Path], sqlite3.Connection], sure: bool = False) -> SetAside | None:
    """Rename a damaged database, and create a new one in its place.

    If several processes find the damage at the same time, one acts and the others use the new file.

    Args:
        path: the database. The caller has closed its own connection to it.
        make: creates an empty database at a path, and opens it.
        sure: a statement failed because of the damage; no check is needed.

    Returns:
        None if it is not damaged, or no longer.

    Raises:
        OSError, sqlite3.Error: the folder cannot be written.
    """
    before = identity(path)
    with held_file(path.with_name(f".{path.name}.lock")):  # one process at a time
        if before != identity(path) or (not sure and fault_of(path) is None):
            return None
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        fresh = path.with_name(f".{path.name}.new")
        for old in (fresh, *(Path(f"{fresh}{end}") for end in _BESIDE)):
            old.unlink(missing_ok=True)
        db = make(fresh)
        try:
            rows = _take_over(path, db)
            (sessions,) = db.execute("SELECT count(*) FROM watches").fetchone()
        finally:
            db.close()
        aside = _free_name(path, stamp)
        try:
            os.link(path, aside)  # so that a database exists at every moment
        except OSError:  # a file system without links
            path.rename(aside)
        for end in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{end}").rename(f"{aside}{end}")
        fresh.replace(path)
        return SetAside(aside, rows, sessions)


def set_aside_files(path: Path) -> list[Path]:
    """The renamed damaged files of a database, oldest first."""
    start, end = f"{path.stem}{_MARK}", path.suffix
    try:
        return sorted(file for file in path.parent.iterdir() if file.name.startswith(start) and file.suffix == end)
    except OSError:
        return []


def identity(path: Path) -> tuple[int, int] | None:
    """Identifies a file among others of the same name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _free_name(path: Path, stamp: str) -> Path:
    number = 1
    while True:
        more = "" if number == 1 else f"-{number}"
        found = path.with_name(f"{path.stem}{_MARK}{stamp}{more}{path.suffix}")
        if not found.exists():
            return found
        number += 1


def _take_over(path: Path, into: sqlite3.Connection) -> int:
    """Copy each table as far as it can be read; returns the number of rows."""
    rows = 0
    try:
        damaged = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0, isolation_level=None)
    except sqlite3.Error:
        return 0
    damaged.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        into.execute("BEGIN")
        for table in _TABLES:
            with contextlib.suppress(sqlite3.Error):
                found = damaged.execute(f"SELECT * FROM {table}")
                columns = [column for column, *_ in found.description]  # may be of an older release
                named, places = ", ".join(columns), ", ".join("?" * len(columns))
                insert = f"INSERT OR IGNORE INTO {table} ({named}) VALUES ({places})"
                for row in found:
                    with contextlib.suppress(sqlite3.Error):  # a row that violates the table's constraints
                        rows += into.execute(insert, row).rowcount
        into.execute("COMMIT")
    finally:
        damaged.close()
    return rows
