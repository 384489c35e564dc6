"""Databases of every schema version are opened; one of a newer release is refused and stays as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_event_store import GATE, NOW, event, rows

from clap_vad.errors import ClapError
from clap_vad.monitoring.store.event_store import EventStore
from clap_vad.monitoring.store.migrations import STEPS
from clap_vad.monitoring.store.opening import open_database, open_to_read
from clap_vad.monitoring.store.summary import read_summary

VERSION_1 = Path(__file__).with_name("version_1.sql").read_text()
SCHEMA = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


@pytest.fixture
def old(tmp_path):
    """A database of schema version 1."""
    path = tmp_path / "watch.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    return path


@pytest.fixture
def a_step_more():
    """As in a later release, which also keeps who has looked at an event."""

    def step(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE events ADD COLUMN seen_by TEXT")
        connection.execute("UPDATE events SET seen_by = 'nobody'")

    STEPS.append(step)
    yield
    STEPS.remove(step)


def test_this_release_makes_the_tables_of_version_1(old, tmp_path):
    """Were a released step changed, databases in the field would differ from new ones."""
    new = tmp_path / "new.db"
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        STEPS[0](db)
        found = db.execute(SCHEMA).fetchall()
    with closing(sqlite3.connect(old)) as db:
        assert found == db.execute(SCHEMA).fetchall()
    open_database(tmp_path / "latest.db", 0.1).close()
    assert rows(tmp_path / "latest.db", "PRAGMA user_version") == [(len(STEPS),)]


def test_a_database_of_version_1_is_read_and_continued(old):
    gate, yard = read_summary(old)
    assert (gate.camera, gate.events, gate.seconds, len(gate.outages), gate.reason) == ("gate", 1, 30.0, 1, "stopped")
    assert (yard.camera, yard.events, yard.newest[0].state) == ("yard", 1, "open")
    store = EventStore(old, GATE, NOW + 100, pytest.fail)
    assert store.session == 3 and store.event(event(), "closed")
    store.close(NOW + 101, "end")
    assert rows(old, "PRAGMA user_version") == [(len(STEPS),)]
    assert rows(old, "SELECT watch, peak_score FROM events ORDER BY id") == [(1, 0.8), (2, 0.7), (3, 0.8)]


@pytest.mark.parametrize("how", ["to write", "to read"])
def test_a_further_step_brings_it_forward_and_keeps_its_rows(old, a_step_more, how):
    with closing(open_database(old, 0.1) if how == "to write" else open_to_read(old)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        found = db.execute("SELECT watch, peak_score, seen_by FROM events ORDER BY id").fetchall()
    assert found == [(1, 0.8, "nobody"), (2, 0.7, "nobody")]


def test_a_step_that_fails_changes_nothing(old, a_step_more):
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE timeline")
        raise sqlite3.OperationalError("database or disk is full")

    STEPS.append(broken)
    try:
        with pytest.raises(ClapError, match="full"):
            open_database(old, 0.1)
    finally:
        STEPS.remove(broken)
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM timeline").fetchone() == (4,)
        assert "seen_by" not in str(db.execute(SCHEMA).fetchall())


def test_a_damaged_database_of_an_older_version_is_taken_over_into_the_new_tables(old, a_step_more):
    with closing(sqlite3.connect(old)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'outages'").fetchone()
    data = bytearray(old.read_bytes())
    data[(root - 1) * size : root * size] = b"\xa5" * size
    old.write_bytes(data)
    found = []
    open_database(old, 0.1, found.append).close()
    assert found[0].path.read_bytes() == data
    assert rows(old, "SELECT watch, peak_score, seen_by FROM events ORDER BY id") == [(1, 0.8, None), (2, 0.7, None)]


@pytest.mark.parametrize("where", ["file", "log"])
def test_a_database_of_a_newer_release_is_left_byte_for_byte_as_it_is(old, where):
    """Also where the other release was killed and its change lies in the write-ahead log only."""
    with closing(sqlite3.connect(old, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL" if where == "log" else "PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
        log = Path(f"{old}-wal")
        kept = old.read_bytes(), log.read_bytes() if where == "log" else None
    if where == "log":  # as a kill leaves them
        old.write_bytes(kept[0])
        log.write_bytes(kept[1])
        assert int.from_bytes(kept[0][60:64]) == 1
    for attempt in (lambda: EventStore(old, GATE, NOW, pytest.fail), lambda: open_to_read(old)):
        with pytest.raises(ClapError, match=f"version {len(STEPS) + 1}; it was left as it is, use the newer release"):
            attempt()
        assert (old.read_bytes(), log.read_bytes() if where == "log" else None) == kept
    assert not list(old.parent.glob("*damaged*"))
