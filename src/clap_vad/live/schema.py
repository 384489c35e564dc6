"""The database of watches: its tables, and how it is opened. ``docs/watch.md`` explains every column."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from ..errors import ClapError

__all__ = ["SCHEMA_VERSION", "open_database", "open_to_read"]

SCHEMA_VERSION = 1
_OLDEST = (3, 37, 0)  # strict tables
_PATIENCE = 10.0  # seconds, while another process makes the same database

_TABLES = (
    """CREATE TABLE watches (
    id INTEGER PRIMARY KEY,
    camera TEXT NOT NULL,
    source TEXT NOT NULL,
    run TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    extractor TEXT NOT NULL,
    threshold REAL NOT NULL,
    clock TEXT NOT NULL CHECK (clock IN ('wall', 'file')),
    started REAL NOT NULL,
    seen REAL NOT NULL,
    stopped REAL,
    reason TEXT
) STRICT""",
    """CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    start_time REAL NOT NULL,
    stop_time REAL NOT NULL,
    peak_time REAL NOT NULL,
    peak_score REAL NOT NULL,
    region_left REAL,
    region_top REAL,
    region_right REAL,
    region_bottom REAL,
    clip TEXT,
    state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'interrupted')),
    UNIQUE (watch, number)
) STRICT""",
    "CREATE INDEX events_by_time ON events (start_time)",
    """CREATE TABLE outages (
    id INTEGER PRIMARY KEY,
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    start_time REAL NOT NULL,
    stop_time REAL,
    reason TEXT NOT NULL,
    UNIQUE (watch, number)
) STRICT""",
    """CREATE TABLE timeline (
    watch INTEGER NOT NULL REFERENCES watches (id) ON DELETE CASCADE,
    start_time REAL NOT NULL,
    seconds REAL NOT NULL,
    segments INTEGER NOT NULL,
    max_score REAL NOT NULL,
    mean_score REAL NOT NULL,
    frames INTEGER NOT NULL,
    dropped_frames INTEGER NOT NULL,
    latency_mean REAL,
    latency_max REAL,
    PRIMARY KEY (watch, start_time)
) STRICT, WITHOUT ROWID""",
)


def open_database(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open the database to write, and make it where there is none.

    Args:
        path: its file; two more lie beside it while it is open (``-wal``, ``-shm``).
        busy_seconds: how long a statement waits for another process that writes.

    Raises:
        ClapError: another file, another schema version, or one that cannot be opened.
    """
    _refuse_old_sqlite()
    until = time.monotonic() + _PATIENCE
    while True:
        connection = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an event that was told survives a loss of power
            connection.execute("PRAGMA foreign_keys = ON")
            _make_tables(connection, path)
            return connection
        except (sqlite3.Error, ClapError, OSError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, ClapError):
                raise
            if "locked" not in str(error) or time.monotonic() > until:
                raise ClapError(f"{path}: no database can be opened there ({error}); name another file") from None
            time.sleep(0.05)


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the database to read only, also while others write; raises :class:`ClapError` for what is none."""
    _refuse_old_sqlite()
    if not path.is_file():
        raise ClapError(f"{path}: no such file; name the database of a 'clap watch'")
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=5.0)
    try:
        _check_version(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise ClapError(f"{path}: not a database of watches ({error}); name the database of a 'clap watch'") from None
    except ClapError:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    _check_version(connection, path)
    connection.execute("COMMIT")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version != SCHEMA_VERSION or not {"watches", "events", "outages", "timeline"} <= tables:
        raise ClapError(
            f"{path}: no database of watches of schema version {SCHEMA_VERSION}, which this release reads; "
            "name another file"
        )


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ClapError(f"SQLite {sqlite3.sqlite_version}: 3.37 or newer is needed; use a newer Python or system")
