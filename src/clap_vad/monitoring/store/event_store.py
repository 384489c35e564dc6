"""The event store: events, outages and timeline of a session in SQLite; survives kills, full disks and damage."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...core.events.ongoing import OngoingEvent
from ...core.text.logins import shown_address
from ...core.text.naming import storable
from ...errors import ClapError
from ..outbox import Outbox, UndeliveredError
from ..sink import Outage, SessionInfo
from ..timeline import TimelineRow, thin
from .damage import SetAside, identity, is_damage
from .opening import begin_anew, open_database

__all__ = ["MOST_WAITING", "EventStore"]

MOST_WAITING = 1000
_THIN_EVERY = 3600.0

_EVENT = """
INSERT INTO events (watch, number, start_time, stop_time, peak_time, peak_score,
                    region_left, region_top, region_right, region_bottom, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (watch, number) DO UPDATE SET
    stop_time = excluded.stop_time, peak_time = excluded.peak_time, peak_score = excluded.peak_score,
    region_left = excluded.region_left, region_top = excluded.region_top, region_right = excluded.region_right,
    region_bottom = excluded.region_bottom, state = excluded.state
"""
_OUTAGE = """
INSERT INTO outages (watch, number, start_time, stop_time, reason) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (watch, number) DO UPDATE SET stop_time = excluded.stop_time, reason = excluded.reason
"""
_OWN = object()
"""Placeholder for this session's number in waiting statements: a new database may change the number."""
_Statement = tuple[str, tuple[Any, ...]]
_LEFT_OPEN = (
    "UPDATE events SET state = 'interrupted' WHERE state = 'open' AND watch = ?",
    "UPDATE outages SET stop_time = max(start_time, coalesce("
    "(SELECT seen FROM watches WHERE id = watch AND clock = 'wall'), start_time)) "
    "WHERE stop_time IS NULL AND watch = ?",
)


class EventStore:
    """One session in a database, which several cameras may share; for one thread at a time.

    Methods that write return at once or after ``busy_seconds``, and never fail: rows that cannot be written (locked
    database, full disk) wait in an :class:`~clap_vad.monitoring.outbox.Outbox`, in their newest state. Events and
    outages that a killed session of the same camera left open are closed as interrupted. A damaged database is set
    aside, also during the session, and the session continues in a new one.

    Args:
        path: the database; created if missing.
        info: of the new session.
        now: Unix seconds.
        report: called with a message for the operator.
        most: largest number of waiting rows; beyond it the oldest are dropped and counted.
        busy_seconds: how long to wait while another process writes.

    Attributes:
        session: number of this session.

    Raises:
        ClapError: no database can be opened, or the camera is monitored by another session.
    """

    def __init__(
        self,
        path: Path,
        info: SessionInfo,
        now: float,
        report: Callable[[str], None],
        *,
        most: int = MOST_WAITING,
        busy_seconds: float = 0.5,
    ) -> None:
        self._path, self._info, self._began, self._report = path, info, now, report
        self._busy_seconds = busy_seconds
        self._number: int | None = None
        self._outbox: Outbox[_Statement] = Outbox(str(path), self._write, report, noun="rows", most=most, batch=None)
        self._thinned, self._thin_at = -math.inf, -math.inf
        self._latest = -math.inf
        self._db: sqlite3.Connection | None = open_database(path, max(busy_seconds, 5.0), self._set_aside)
        try:
            self._lock = _lock(path, info.camera)
        except BaseException:
            self._db.close()
            raise
        try:
            self.session = self._begin(self._db, self._number)
            self._settle(self._db)
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            os.close(self._lock)
            raise ClapError(f"{path}: cannot be written ({error}); free the disk or name another file") from None

    @property
    def dropped(self) -> int:
        """Rows lost so far."""
        return self._outbox.dropped

    def event(self, event: OngoingEvent, state: Literal["open", "closed"]) -> bool:
        """Write an event as far as known; whether all is written."""
        region = (None,) * 4 if event.region is None else event.region
        values = (_OWN, event.number, event.start, event.stop, event.peak, event.score, *region, state)
        return self._put("event", event.number, _EVENT, values)

    def clip(self, number: int, clip: str) -> bool:
        """Write the path of an event's clip, relative to the database's folder."""
        update = "UPDATE events SET clip = ? WHERE watch = ? AND number = ?"
        return self._put("clip", number, update, (clip, _OWN, number))

    def outage(self, outage: Outage) -> bool:
        """Write an outage; its reason contains no part of an address."""
        values = (_OWN, outage.number, outage.start, outage.stop, storable(outage.reason))
        return self._put("outage", outage.number, _OUTAGE, values)

    def timeline(self, row: TimelineRow) -> bool:
        """A row of the timeline."""
        self._latest = max(self._latest, row.start)
        values = (row.start, row.seconds, row.segments, row.max_score, row.mean_score, row.frames, row.dropped_frames)
        insert = f"INSERT OR REPLACE INTO timeline VALUES ({', '.join('?' * 10)})"
        return self._put("timeline", row.start, insert, (_OWN, *values, row.latency_mean, row.latency_max))

    def alive(self, now: float) -> bool:
        """Write that the session is running at Unix seconds ``now``; call it every few seconds, also in an outage."""
        return self._put("alive", 0, "UPDATE watches SET seen = ? WHERE id = ?", (now, _OWN))

    def flush(self, at_once: bool = False) -> bool:
        """Try again to write waiting rows, if the next try is due; whether all are written."""
        return self._outbox.flush(at_once)

    def close(self, now: float, reason: str) -> None:
        """Write that the session ended at Unix seconds ``now``; an open event is closed as interrupted."""
        for number, statement in enumerate(_LEFT_OPEN):
            self._outbox.put((statement, (_OWN,)), ("left open", number))
        ended = "UPDATE watches SET seen = ?, stopped = ?, reason = ? WHERE id = ?"
        self._outbox.put((ended, (now, now, storable(reason), _OWN)), "ended")
        self._outbox.close()
        if self._db is not None:
            self._db.close()
        os.close(self._lock)

    def _put(self, kind: str, number: float, statement: str, values: tuple[Any, ...]) -> bool:
        self._outbox.put((statement, values), (kind, number))
        return self._outbox.flush()

    def _write(self, rows: list[_Statement]) -> None:
        try:
            self._write_somewhere(rows)
        except (sqlite3.Error, OSError, ClapError) as error:
            raise UndeliveredError(f"cannot be written ({error})") from None

    def _write_somewhere(self, rows: list[_Statement]) -> None:
        """Write rows, into a new database if the present one is damaged or gone.

        Raises:
            sqlite3.Error, OSError, ClapError: they cannot be written now.
        """
        if self._db is None or identity(self._path) != self._file:
            self._carry_on()
        try:
            self._transaction(rows)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._leave()
            begin_anew(self._path, self._set_aside, sure=True)
            self._carry_on()
            self._transaction(rows)

    def _transaction(self, rows: list[_Statement]) -> None:
        """Write rows, and thin the timeline once an hour."""
        assert self._db is not None  # it was just opened
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for statement, values in rows:
                db.execute(statement, [self.session if value is _OWN else value for value in values])
            due = math.isfinite(self._latest) and self._latest >= self._thin_at
            thinned = thin(db, self.session, self._info.clock, self._thinned, self._latest) if due else self._thinned
            db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back(db)
            raise
        if due:
            self._thinned, self._thin_at = thinned, self._latest + _THIN_EVERY

    def _carry_on(self) -> None:
        """Reopen the database at the path, after damage (found here or by another process) or loss of the file."""
        self._leave()
        self._db = open_database(self._path, self._busy_seconds, self._set_aside)
        db, camera = self._db, storable(self._info.camera)
        (known,) = db.execute(
            "SELECT count(*) FROM watches WHERE id = ? AND camera = ? AND started = ?",
            (self.session, camera, self._began),
        ).fetchone()
        if not known:
            (taken,) = db.execute("SELECT count(*) FROM watches WHERE id = ?", (self.session,)).fetchone()
            self.session = self._begin(db, None if taken else self.session)
        self._settle(db)

    def _leave(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
        self._db = None

    def _settle(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA busy_timeout = {round(1000 * self._busy_seconds)}")
        self._file = identity(self._path)

    def _set_aside(self, found: SetAside) -> None:
        if not found.sessions:  # start above all earlier numbers: they identify messages
            self._number = round(self._began)
        self._report(found.sentence(self._path))

    def _begin(self, db: sqlite3.Connection, number: int | None) -> int:
        """Write the session's row, with this number or the next free one; returns the number."""
        info, camera = self._info, storable(self._info.camera)
        db.execute("BEGIN IMMEDIATE")
        open_ones = db.execute("SELECT id FROM watches WHERE camera = ? AND stopped IS NULL", (camera,)).fetchall()
        for (killed,) in open_ones:
            for statement in _LEFT_OPEN:
                db.execute(statement, (killed,))
        db.execute(
            "UPDATE watches SET stopped = seen, reason = 'interrupted' WHERE camera = ? AND stopped IS NULL",
            (camera,),
        )
        added = db.execute(
            "INSERT INTO watches (id, camera, source, run, model_sha256, extractor, threshold, clock, started, seen) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(number, camera, storable(shown_address(info.source)), storable(info.run)),
                *(info.model_sha256, info.extractor),
                *(info.threshold, info.clock, self._began, self._began),
            ),
        )
        db.execute("COMMIT")
        return int(added.lastrowid or 0)

    def _roll_back(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:  # after a full disk SQLite has rolled back already
            try:
                db.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._report(f"{self._path}: {error}")


def _lock(path: Path, camera: str) -> int:
    """A lock that a kill releases: at most one session per camera in a database."""
    name = hashlib.sha256(camera.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    handle = os.open(path.with_name(f".{path.name}.{name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ClapError(
            f"{path}: camera '{camera}' is being watched already; stop that 'clap watch' or use --camera"
        ) from None
    return handle
