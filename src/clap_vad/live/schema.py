"""The database of watches: its tables, and how it is opened. ``docs/watch.md`` explains every column."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ..errors import ClapError
from .damage import SetAside, fault_of, is_damage, set_aside

__all__ = ["SCHEMA_VERSION", "begin_anew", "open_database", "open_to_read", "unreadable"]

SCHEMA_VERSION = 1
_OLDEST = (3, 37, 0)  # strict tables
_OTHER = f"no database of watches of schema version {SCHEMA_VERSION}, which this release reads; name another file"
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


def open_database(
    path: Path, busy_seconds: float, told: Callable[[SetAside], None] = lambda found: None
) -> sqlite3.Connection:
    """Open the database to write, and make it where there is none; a damaged one is set aside first.

    Args:
        path: its file; two more lie beside it while it is open (``-wal``, ``-shm``).
        busy_seconds: how long a statement waits for another process that writes.
        told: hears of a damaged file that was set aside.

    Raises:
        ClapError: another file, another schema version, or one that cannot be opened.
    """
    _refuse_old_sqlite()
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if fault_of(path) is not None:
                begin_anew(path, told)
            return _opened(path, busy_seconds)
        except (sqlite3.Error, OSError) as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise ClapError(f"{path}: no database can be opened there ({error}); name another file") from None
            time.sleep(0.05)


def begin_anew(path: Path, told: Callable[[SetAside], None], sure: bool = False) -> None:
    """Set a damaged database aside, see :func:`~clap_vad.live.damage.set_aside`.

    Raises:
        ClapError: the file says that it is no database of watches, or of another release; it stays where it is.
        OSError, sqlite3.Error: the folder cannot be written.
    """
    version = _stated_version(path)
    in_log = version == 0 and Path(f"{path}-wal").exists()  # what would tell is not in the file itself yet
    if (version not in (None, SCHEMA_VERSION) and not in_log) or (version is None and _is_text(path)):
        raise ClapError(f"{path}: {_OTHER}")
    found = set_aside(path, lambda fresh: _opened(fresh, 5.0, journal="DELETE"), sure)
    if found is not None:
        told(found)


def _opened(path: Path, busy_seconds: float, journal: str = "WAL") -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
            _check_version(connection, path)  # before anything of a file of another program is changed
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = FULL")  # an event that was told survives a loss of power
        connection.execute("PRAGMA foreign_keys = ON")
        _make_tables(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


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
        raise ClapError(f"{path}: {unreadable(error)}") from None
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
        raise ClapError(f"{path}: {_OTHER}")


def unreadable(error: sqlite3.Error) -> str:
    """Why a database cannot be read, and what to do."""
    if is_damage(error):
        return (
            f"the database is damaged ({error}); start 'clap watch' into this folder again: it sets the file aside, "
            "keeps what can be read and begins a new one"
        )
    return f"not a database of watches ({error}); name the database of a 'clap watch'"


def _stated_version(path: Path) -> int | None:
    """The schema version in the head of a file; None where it has no head of SQLite's."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return None
    return int.from_bytes(head[60:64]) if len(head) == 100 and head.startswith(b"SQLite format 3\0") else None


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST:
        raise ClapError(f"SQLite {sqlite3.sqlite_version}: 3.37 or newer is needed; use a newer Python or system")


def _is_text(path: Path) -> bool:
    """Whether a file is a text, which no damage makes of a database."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return False
    return all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start)
