"""The event store holds what happened, after a kill, beside other cameras, behind a lock and on a full disk."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from clap_vad.core.events.ongoing import OngoingEvent
from clap_vad.errors import ClapError
from clap_vad.monitoring.sink import Outage, SessionInfo
from clap_vad.monitoring.store.event_store import EventStore
from clap_vad.monitoring.store.opening import begin_anew, open_database, open_to_read
from clap_vad.monitoring.store.summary import read_summary
from clap_vad.monitoring.timeline import Timeline, TimelineRow

NOW = 1_790_000_000.0
SOURCE = "rtsp://admin:s3cret@10.0.0.5/cam"
GATE = SessionInfo("gate", SOURCE, "run", "ab" * 32, "motion", 0.5, "wall")
ROW = TimelineRow(NOW, 10.0, 15, 0.75, 0.25, 240, 3, 0.125, 0.5)
BOX = (0.0, 0.25, 0.5, 1.0)


def event(number=0, stop=NOW + 4, score=0.8):
    return OngoingEvent(number, NOW, stop, NOW + 1, score, BOX)


def rows(path, query):
    with open_to_read(path) as db:
        return db.execute(query).fetchall()


EVENTS = "SELECT watch, number, start_time, stop_time, peak_score, state, clip FROM events"


def test_a_watch_leaves_its_events_outages_and_timeline_and_no_login(tmp_path):
    path = tmp_path / "watch.db"
    store = EventStore(path, GATE, NOW, pytest.fail)
    assert store.event(event(), "open")
    assert rows(path, EVENTS) == [(1, 0, NOW, NOW + 4, 0.8, "open", None)]  # at once, for other processes too
    assert store.event(event(stop=NOW + 9, score=0.9), "closed")
    assert store.clip(0, "clips/gate-0.mp4")
    assert store.event(replace(event(1), region=None), "closed")
    assert store.outage(Outage(0, NOW + 20, None, "Connection refused"))
    assert store.outage(Outage(0, NOW + 20, NOW + 25, "Connection refused"))
    assert store.timeline(ROW) and store.alive(NOW + 30)
    store.close(NOW + 31, "stopped by SIGTERM")

    assert rows(path, EVENTS) == [
        (1, 0, NOW, NOW + 9, 0.9, "closed", "clips/gate-0.mp4"),
        (1, 1, NOW, NOW + 4, 0.8, "closed", None),
    ]
    regions = "SELECT region_left, region_top, region_right, region_bottom FROM events"
    assert rows(path, regions) == [BOX, (None,) * 4]
    assert rows(path, "SELECT * FROM timeline") == [(1, NOW, 10.0, 15, 0.75, 0.25, 240, 3, 0.125, 0.5)]
    address = "rtsp://10.0.0.5/cam"
    assert rows(path, "SELECT * FROM outages") == [(1, 1, 0, NOW + 20, NOW + 25, "Connection refused")]
    told = ("gate", address, "run", "ab" * 32, "motion", 0.5, "wall", NOW, NOW + 31, NOW + 31, "stopped by SIGTERM")
    assert rows(path, "SELECT * FROM watches") == [(1, *told)]
    assert b"s3cret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


KILLED = """
import os, sys
from pathlib import Path
from test_event_store import GATE, NOW, event
from clap_vad.monitoring.sink import Outage
from clap_vad.monitoring.store.event_store import EventStore
store = EventStore(Path(sys.argv[1]), GATE, NOW, print)
store.event(event(), "open")
store.event(event(stop=NOW + 7), "open")
store.outage(Outage(0, NOW + 10, None, "no frames"))
store.alive(NOW + 12)
print("watching", flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_watch_left_open_is_closed_by_the_next_one_of_its_camera(tmp_path):
    path = tmp_path / "watch.db"
    environment = {"PYTHONPATH": ":".join(p for p in (str(__file__.rpartition("/")[0]), *sys.path) if p)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (-9, "watching\n"), done.stderr
    other = EventStore(path, replace(GATE, camera="yard"), NOW + 50, pytest.fail)
    assert rows(path, "SELECT state FROM events") == [("open",)]  # not this camera's business
    store = EventStore(path, GATE, NOW + 100, pytest.fail)
    assert rows(path, EVENTS) == [(1, 0, NOW, NOW + 7, 0.8, "interrupted", None)]
    assert rows(path, "SELECT start_time, stop_time FROM outages") == [(NOW + 10, NOW + 12)]
    ended = rows(path, "SELECT camera, stopped, reason FROM watches")
    assert ended == [("gate", NOW + 12, "interrupted"), ("yard", None, None), ("gate", None, None)]
    assert store.event(event(), "open")  # number 0 of another watch
    for one in (store, other):
        one.close(NOW + 101, "end")
    assert rows(path, "SELECT watch, state FROM events") == [(1, "interrupted"), (3, "interrupted")]


def test_a_camera_is_watched_once_at_a_time(tmp_path):
    path = tmp_path / "watch.db"
    store = EventStore(path, GATE, NOW, pytest.fail)
    with pytest.raises(ClapError, match="camera 'gate' is being watched already"):
        EventStore(path, GATE, NOW, pytest.fail)
    store.close(NOW, "end")
    EventStore(path, GATE, NOW, pytest.fail).close(NOW, "end")


ASKS_FOR_THE_FILE = """
import fcntl, os, sys
handle = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)  # where SQLite locks
except BlockingIOError:
    print("in use")
"""


@pytest.mark.parametrize("damaged", [False, True])
def test_opening_a_database_again_takes_no_lock_from_another_session_of_the_process(tmp_path, damaged):
    """A process that closes a file loses its locks on it: another one could then remove the log in use."""
    path = tmp_path / "watch.db"

    def used() -> str:
        command = [sys.executable, "-c", ASKS_FOR_THE_FILE, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    store = EventStore(path, GATE, NOW, pytest.fail)
    assert used() == "in use\n"
    if damaged:
        begin_anew(path, pytest.fail)  # as a session does that has found damage, where there is none any more
    else:
        EventStore(path, replace(GATE, camera="yard"), NOW, pytest.fail).close(NOW, "end")
        read_summary(path)
    assert used() == "in use\n"
    store.close(NOW, "end")
    assert used() == ""


def test_a_locked_database_makes_rows_wait_and_only_the_newest_state_of_each(tmp_path):
    path, told = tmp_path / "watch.db", []
    store = EventStore(path, GATE, NOW, told.append, most=4, busy_seconds=0.01)
    other = open_database(path, 0.1)
    other.execute("BEGIN IMMEDIATE")
    for stop in range(1, 6):
        assert not store.event(event(stop=NOW + stop), "open")
    for number in range(1, 6):
        store.event(event(number), "closed")
    other.execute("COMMIT")
    other.close()
    assert store.flush(at_once=True)
    assert rows(path, "SELECT number FROM events") == [(2,), (3,), (4,), (5,)]
    assert store.dropped == 2
    assert [text.partition(": ")[2].partition(" (")[0] for text in told] == [
        "cannot be written",
        "more than 4 rows wait; the oldest are dropped",
        "works again; 2 rows were lost",
    ]
    store.close(NOW, "end")


def test_a_full_disk_stops_nothing(tmp_path):
    """SQLite's own limit on pages stands for the disk: the same error, at the same place."""
    path, told = tmp_path / "watch.db", []
    store = EventStore(path, GATE, NOW, told.append)
    store._db.execute("PRAGMA max_page_count = 1")  # as many as there are: none can be added
    written = [store.timeline(replace(ROW, start=NOW + 10 * n)) for n in range(200)]
    assert written[0] and not written[-1] and "full" in told[0]
    store._db.execute("PRAGMA max_page_count = 100000")
    store.close(NOW, "end")
    assert rows(path, "SELECT count(*) FROM timeline") == [(200,)]


@pytest.mark.parametrize("content", [b"not a database, " * 100, None])
def test_another_file_is_told_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE notes (text)")
        db.close()
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    for attempt in (lambda: EventStore(path, GATE, NOW, pytest.fail), lambda: open_to_read(path)):
        with pytest.raises(ClapError, match=str(path)):
            attempt()
    with open_or_none(path) as db:
        assert db is None or db.execute("SELECT name FROM sqlite_schema").fetchall() == [("notes",)]
    with pytest.raises(ClapError, match="no such file"):
        open_to_read(tmp_path / "nothing.db")


class open_or_none:  # noqa: N801  # a context manager
    def __init__(self, path):
        self.path = path

    def __enter__(self):
        try:
            self.db = sqlite3.connect(self.path)
            self.db.execute("SELECT 1 FROM sqlite_schema")
        except sqlite3.DatabaseError:
            return None
        return self.db

    def __exit__(self, *_):
        self.db.close()


@pytest.mark.parametrize("clock", ["wall", "file"])
def test_rows_older_than_a_day_become_one_a_minute(tmp_path, clock):
    path, rng = tmp_path / "watch.db", np.random.default_rng(0)
    begun = NOW if clock == "wall" else 0.0
    store = EventStore(path, replace(GATE, clock=clock), NOW, pytest.fail)
    before = []
    for n in range(700):  # 1 h 57 min
        segments, latency = int(rng.integers(1, 16)), (None if n % 3 else float(rng.random()))
        values = (10.0, segments, float(rng.random()), float(rng.random()), 16 * segments, int(rng.integers(3)))
        before.append(TimelineRow(begun + 10 * n, *values, latency, latency and 2 * latency))
    for row in before:  # one transaction
        store._outbox.put(timeline_row(store, row))
    store.flush()
    last = replace(ROW, start=begun + 86400 + 3605)  # a day and an hour on
    store.timeline(last)
    store.close(NOW, "end")

    limit = (last.start - 86400) // 60 * 60
    whole = "SELECT start_time, seconds, segments, max_score, mean_score, frames, dropped_frames, latency_mean, "
    found = rows(path, whole + "latency_max FROM timeline ORDER BY start_time")
    expected = []
    for minute in dict.fromkeys(row.start // 60 for row in before if row.start < limit):
        own = [row for row in before if row.start // 60 == minute]
        timed = [row for row in own if row.latency_mean is not None]
        weights = [row.segments for row in own]
        mean = np.average([row.latency_mean for row in timed], weights=[row.segments for row in timed])
        expected.append(
            (
                *(own[0].start, 10.0 * len(own), sum(weights), max(row.max_score for row in own)),
                *(np.average([row.mean_score for row in own], weights=weights), sum(row.frames for row in own)),
                *(sum(row.dropped_frames for row in own), mean, max(row.latency_max for row in timed)),
            )
        )
    assert 58 < len(expected) < 63
    np.testing.assert_allclose(np.array(found[: len(expected)], float), np.array(expected, float), rtol=1e-12)
    assert len(found) == len(expected) + sum(row.start >= limit for row in before) + 1


def timeline_row(store, row):
    latency = (row.latency_mean, row.latency_max)
    values = (row.start, row.seconds, row.segments, row.max_score, row.mean_score, row.frames, row.dropped_frames)
    return f"INSERT INTO timeline VALUES ({', '.join('?' * 10)})", (store.session, *values, *latency)


def test_segments_become_rows_at_the_clocks_tens():
    timeline, rng = Timeline(), np.random.default_rng(0)
    scores = rng.random(100)
    found = []
    for n, score in enumerate(scores):
        timeline.drop(n % 2)
        found.append(timeline.add(NOW + 0.64 * n, NOW + 0.64 * (n + 1), float(score), 16, None if n < 50 else n / 100))
    found = [row for row in [*found, timeline.finish()] if row]
    assert timeline.finish() is None
    tens = (NOW + 0.64 * np.arange(100)) // 10
    assert len(found) == len(np.unique(tens))
    for row, ten in zip(found, np.unique(tens), strict=True):
        own = np.flatnonzero(tens == ten)
        assert (row.start, row.segments, row.frames) == (NOW + 0.64 * own[0], len(own), 16 * len(own))
        assert row.seconds == pytest.approx(0.64 * len(own))
        assert (row.max_score, row.mean_score) == (scores[own].max(), pytest.approx(scores[own].mean()))
        timed = own[own >= 50] / 100
        assert row.latency_max == (timed.max() if len(timed) else None)
        assert row.latency_mean == (pytest.approx(timed.mean()) if len(timed) else None)
    assert sum(row.dropped_frames for row in found) == 50
    assert math.isclose(sum(row.seconds for row in found), 64.0)
