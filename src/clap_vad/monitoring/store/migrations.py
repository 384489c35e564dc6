"""The migration steps of the event store, one per schema version.

Step n brings a database of version n to version n + 1; an empty file is version 0. A new version is one more function
at the end of :data:`STEPS`. A released step is never changed: existing databases were made by it.
``docs/watch.md`` explains every column.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

__all__ = ["STEPS", "migrate", "schema_version"]

_VERSION_1 = (
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


def _make_version_1(connection: sqlite3.Connection) -> None:
    """Sessions, events, outages, timeline."""
    for statement in _VERSION_1:
        connection.execute(statement)


STEPS: list[Callable[[sqlite3.Connection], None]] = [_make_version_1]
"""All steps, in order; their number is the schema version of this release."""


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema version of a database."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Migrate a database to the version of this release, completely or not at all.

    Args:
        connection: without an open transaction; an empty database, or one of an older version of the event store.
    """
    if schema_version(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(schema_version(connection), len(STEPS)):  # another process may have migrated it meanwhile
            STEPS[version](connection)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
