"""Opens the event store's database: creates it, migrates it, refuses it, or sets it aside if damaged."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from ...errors import ClapError
from .damage import SetAside, fault_of, identity, is_damage, set_aside
from .migrations import STEPS, migrate, schema_version

__all__ = ["begin_anew", "open_database", "open_to_read", "unreadable"]

_OLDEST = (3, 37, 0)  # strict tables
_PATIENCE = 10.0  # seconds, while another process creates the same database
_TABLES = {"watches", "events", "outages", "timeline"}


def open_database(
    path: Path, busy_seconds: float, report: Callable[[SetAside], None] = lambda found: None
) -> sqlite3.Connection:
    """Open the database for writing: created if missing, migrated if it is of an older release.

    A damaged one is set aside first. One of another program or of a newer release is not changed.

    Args:
        path: its file; while open, two more lie beside it (``-wal``, ``-shm``).
        busy_seconds: how long a statement waits while another process writes.
        report: called with a damaged file that was set aside.

    Returns:
        A connection that may be used in another thread.

    Raises:
        ClapError: another file, a newer schema version, or one that cannot be opened.
    """
    _refuse_old_sqlite()
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _refuse_newer(path)
            if fault_of(path) is not None:
                begin_anew(path, report)
            return _opened(path, busy_seconds)
        except (sqlite3.Error, OSError) as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise ClapError(f"{path}: no database can be opened there ({error}); name another file") from None
            time.sleep(0.05)


def begin_anew(path: Path, report: Callable[[SetAside], None], sure: bool = False) -> None:
    """Set a damaged database aside, see :func:`~clap_vad.monitoring.store.damage.set_aside`.

    Raises:
        ClapError: the file is not an event store, or is of a newer release; it is not moved.
        OSError, sqlite3.Error: the folder cannot be written.
    """
    head = _head(path)
    version = _stated_version(head)
    in_log = version == 0 and Path(f"{path}-wal").exists()  # the version is not yet in the file itself
    if (version is not None and not 1 <= version <= len(STEPS) and not in_log) or (version is None and _is_text(head)):
        raise ClapError(_refusal(path, version or 0))
    found = set_aside(path, lambda fresh: _opened(fresh, 5.0, journal="DELETE"), sure)
    if found is not None:
        report(found)


def _opened(path: Path, busy_seconds: float, journal: str = "WAL") -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
            _check(connection, path)  # before a file of another program is changed
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")  # a reported event survives a power loss
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the database read-only, also while others write; one of an older release is migrated first.

    Raises:
        ClapError: there is none, or it is of another program or a newer release.
    """
    _refuse_old_sqlite()
    if not path.is_file():
        raise ClapError(f"{path}: no such file; name the database of a 'clap watch'")
    connection = _read_only(path)
    try:
        _check(connection, path)
        older = schema_version(connection) < len(STEPS)
    except sqlite3.Error as error:
        connection.close()
        raise ClapError(f"{path}: {unreadable(error)}") from None
    except ClapError:
        connection.close()
        raise
    if older:
        connection.close()
        open_database(path, 5.0).close()
        return _read_only(path)
    return connection


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=5.0)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise :class:`ClapError` unless it is an event store of this release or an older one."""
    version = schema_version(connection)
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not 1 <= version <= len(STEPS) or not tables >= _TABLES:
        raise ClapError(_refusal(path, version))


def _refuse_newer(path: Path) -> None:
    """Refuse a database of a newer release before a writing connection can change it."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        with closing(_read_only(path)) as connection:
            version = schema_version(connection)
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise
        return  # damaged, or another file: detected on opening
    if version > len(STEPS):
        raise ClapError(_refusal(path, version))


def _refusal(path: Path, version: int) -> str:
    """Why a file cannot be used, by its schema version."""
    if version > len(STEPS):
        return (
            f"{path}: no database of schema version {len(STEPS)} or older, which this release reads, but of version "
            f"{version}; it was left as it is, use the newer release or name another file"
        )
    return f"{path}: no database of 'clap watch'; it was left as it is, name another file"


def unreadable(error: sqlite3.Error) -> str:
    """Why a database cannot be read, and what to do."""
    if is_damage(error):
        return (
            f"the database is damaged ({error}); start 'clap watch' into this folder again: it sets the file aside, "
            "keeps what can be read and begins a new one"
        )
    return f"not a database of 'clap watch' ({error}); name the database of a 'clap watch'"


_HEADS: dict[tuple[int, int] | None, int] = {}
"""Files whose head was read. They stay open: when a process closes a file, it loses all its locks on it (POSIX), also
those of SQLite's connections in other sessions. SQLite handles this for its own files only."""


def _head(path: Path) -> bytes:
    """The first bytes of a file that may be damaged; empty if it cannot be read."""
    try:
        file = identity(path)
        if file not in _HEADS:
            _HEADS[file] = os.open(path, os.O_RDONLY)
        return os.pread(_HEADS[file], 512, 0)
    except OSError:
        return b""


def _stated_version(head: bytes) -> int | None:
    """The schema version in the head of a file; None without an SQLite head."""
    return int.from_bytes(head[60:64]) if len(head) >= 100 and head.startswith(b"SQLite format 3\0") else None


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ClapError(f"SQLite {sqlite3.sqlite_version}: 3.37 or newer is needed; use a newer Python or system")


def _is_text(head: bytes) -> bool:
    """Whether a file is a text file, and so not a damaged database."""
    return bool(head) and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
