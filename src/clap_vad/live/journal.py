"""The journal of a watch: its events, outages and timeline in SQLite, whatever befalls the watch or the disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.events.ongoing import OngoingEvent
from ..core.text.logins import shown_address
from ..core.text.naming import storable
from ..errors import ClapError
from .backoff import Backoff
from .damage import SetAside, identity, is_damage
from .message import Clock
from .schema import begin_anew, open_database
from .timeline import TimelineRow, thin

__all__ = ["MOST_WAITING", "Journal", "Watch"]

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
"""Stands for the number of this start among the values of a statement that waits: a new database may change it."""
_LEFT_OPEN = (
    "UPDATE events SET state = 'interrupted' WHERE state = 'open' AND watch = ?",
    "UPDATE outages SET stop_time = max(start_time, coalesce("
    "(SELECT seen FROM watches WHERE id = watch AND clock = 'wall'), start_time)) "
    "WHERE stop_time IS NULL AND watch = ?",
)


@dataclass(frozen=True)
class Watch:
    """What is watched, by which model.

    Attributes:
        camera: its name.
        source: file or address; of an address only what may be shown is written.
        run: folder of the model.
        model_sha256: of the model's arrays.
        extractor: name of its features.
        threshold: score from which a segment is high.
        clock: what the times mean.
    """

    camera: str
    source: str
    run: str
    model_sha256: str
    extractor: str
    threshold: float
    clock: Clock


class Journal:
    """One start of ``clap watch`` in a database, which several cameras may share; for one thread.

    A method that writes returns at once or after ``busy_seconds``, and never fails: what a locked database or a full
    disk does not take waits, at most 1000 rows (the newest state of each), and is tried again, ever more slowly. What
    a watch of the same camera that was killed has left open is closed as interrupted. A damaged database is set aside,
    also while the watch goes on, and the watch is carried on in a new one.

    Args:
        path: the database; made where there is none.
        watch: what begins now.
        now: Unix seconds.
        tell: takes a sentence for the operator.
        most: rows that wait; of more, the oldest are lost and counted.
        busy_seconds: how long to wait for another process that writes.

    Attributes:
        watch: number of this start.
        lost: rows lost so far.

    Raises:
        ClapError: no database can be opened, or the camera is being watched by another process.
    """

    def __init__(
        self,
        path: Path,
        watch: Watch,
        now: float,
        tell: Callable[[str], None],
        *,
        most: int = MOST_WAITING,
        busy_seconds: float = 0.5,
    ) -> None:
        self.lost = 0
        self._path, self._clock, self._tell, self._most = path, watch.clock, tell, most
        self._about, self._began, self._busy_seconds = watch, now, busy_seconds
        self._number: int | None = None
        self._waiting: dict[tuple[str, float], tuple[str, tuple[Any, ...]]] = {}
        self._backoff = Backoff(watch.camera)
        self._next_try = -math.inf
        self._failing = False
        self._thinned, self._thin_at = -math.inf, -math.inf
        self._latest = -math.inf
        self._db: sqlite3.Connection | None = open_database(path, max(busy_seconds, 5.0), self._set_aside)
        try:
            self._lock = _lock(path, watch.camera)
        except BaseException:
            self._db.close()
            raise
        try:
            self.watch = self._begin(self._db, watch, now, self._number)
            self._settle(self._db)
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            os.close(self._lock)
            raise ClapError(f"{path}: cannot be written ({error}); free the disk or name another file") from None

    def event(self, event: OngoingEvent, state: Literal["open", "closed"]) -> bool:
        """An event as far as it is known; whether all is written."""
        region = (None,) * 4 if event.region is None else event.region
        values = (_OWN, event.number, event.start, event.stop, event.peak, event.score, *region, state)
        return self._write("event", event.number, _EVENT, values)

    def clip(self, number: int, clip: str) -> bool:
        """Where the clip of an event lies; relative to the database's folder."""
        update = "UPDATE events SET clip = ? WHERE watch = ? AND number = ?"
        return self._write("clip", number, update, (clip, _OWN, number))

    def outage(self, number: int, start: float, stop: float | None, reason: str) -> bool:
        """The stream's n-th outage, while it lasts with ``stop`` None; the reason repeats no part of an address."""
        return self._write("outage", number, _OUTAGE, (_OWN, number, start, stop, storable(reason)))

    def timeline(self, row: TimelineRow) -> bool:
        """A row of the timeline."""
        self._latest = max(self._latest, row.start)
        values = (row.start, row.seconds, row.segments, row.max_score, row.mean_score, row.frames, row.dropped_frames)
        insert = f"INSERT OR REPLACE INTO timeline VALUES ({', '.join('?' * 10)})"
        return self._write("timeline", row.start, insert, (_OWN, *values, row.latency_mean, row.latency_max))

    def alive(self, now: float) -> bool:
        """The watch is at work, at Unix seconds ``now``; to be said every few seconds, in an outage too."""
        return self._write("alive", 0, "UPDATE watches SET seen = ? WHERE id = ?", (now, _OWN))

    def flush(self, at_once: bool = False) -> bool:
        """Try again to write what waits, if it is time; whether all is written."""
        if not self._waiting:
            return True
        if not at_once and time.monotonic() < self._next_try:
            return False
        try:
            due, thinned = self._written()
        except (sqlite3.Error, OSError, ClapError) as error:
            self._next_try = time.monotonic() + self._backoff.wait(time.monotonic())
            if not self._failing:
                self._tell(f"{self._path}: cannot be written ({error}); events wait in memory")
            self._failing = True
            return False
        if due:
            self._thinned, self._thin_at = thinned, self._latest + _THIN_EVERY
        if self._failing:
            self._tell(f"{self._path}: written again; {self.lost} rows were lost")
        self._waiting, self._failing, self._next_try = {}, False, -math.inf
        self._backoff.succeeded(time.monotonic())
        return True

    def close(self, now: float, reason: str) -> None:
        """The watch has ended, at Unix seconds ``now``; an event still open is closed as interrupted."""
        for number, statement in enumerate(_LEFT_OPEN):
            self._waiting["left open", number] = (statement, (_OWN,))
        ended = "UPDATE watches SET seen = ?, stopped = ?, reason = ? WHERE id = ?"
        self._waiting["ended", 0] = (ended, (now, now, storable(reason), _OWN))
        if not self.flush(at_once=True):
            self._tell(f"{self._path}: {len(self._waiting)} rows could not be written and are lost")
        if self._db is not None:
            self._db.close()
        os.close(self._lock)

    def _write(self, kind: str, number: float, statement: str, values: tuple[Any, ...]) -> bool:
        self._waiting[kind, number] = (statement, values)
        if len(self._waiting) > self._most:
            del self._waiting[next(iter(self._waiting))]
            self.lost += 1
        return self.flush()

    def _written(self) -> tuple[bool, float]:
        """Write what waits, into a new database where the present one is damaged or gone; whether it was thinned, and
        up to when.

        Raises:
            sqlite3.Error, OSError, ClapError: it cannot be written now.
        """
        if self._db is None or identity(self._path) != self._file:
            self._carry_on()
        try:
            return self._transaction()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._leave()
            begin_anew(self._path, self._set_aside, sure=True)
            self._carry_on()
            return self._transaction()

    def _transaction(self) -> tuple[bool, float]:
        assert self._db is not None  # it has just been opened
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            for statement, values in self._waiting.values():
                db.execute(statement, [self.watch if value is _OWN else value for value in values])
            due = math.isfinite(self._latest) and self._latest >= self._thin_at
            thinned = thin(db, self.watch, self._clock, self._thinned, self._latest) if due else self._thinned
            db.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back(db)
            raise
        return due, thinned

    def _carry_on(self) -> None:
        """Open the database that now lies at the path: damage was found, here or by another process, or it is gone."""
        self._leave()
        self._db = open_database(self._path, self._busy_seconds, self._set_aside)
        db, camera = self._db, storable(self._about.camera)
        (known,) = db.execute(
            "SELECT count(*) FROM watches WHERE id = ? AND camera = ? AND started = ?",
            (self.watch, camera, self._began),
        ).fetchone()
        if not known:
            (taken,) = db.execute("SELECT count(*) FROM watches WHERE id = ?", (self.watch,)).fetchone()
            self.watch = self._begin(db, self._about, self._began, None if taken else self.watch)
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
        if not found.watches:  # numbers begin where none can have been before: they tell messages apart
            self._number = round(self._began)
        self._tell(found.sentence(self._path))

    def _begin(self, db: sqlite3.Connection, watch: Watch, now: float, number: int | None = None) -> int:
        camera = storable(watch.camera)
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
                *(number, camera, storable(shown_address(watch.source)), storable(watch.run)),
                *(watch.model_sha256, watch.extractor),
                *(watch.threshold, watch.clock, now, now),
            ),
        )
        db.execute("COMMIT")
        return int(added.lastrowid or 0)

    def _roll_back(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:  # SQLite has rolled back a full disk by itself
            try:
                db.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._tell(f"{self._path}: {error}")


def _lock(path: Path, camera: str) -> int:
    """A lock that a killed process lets go of: at most one watch of a camera in a database."""
    name = hashlib.sha256(camera.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    handle = os.open(path.with_name(f".{path.name}.{name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ClapError(
            f"{path}: camera '{camera}' is being watched already; stop that watch or use --camera"
        ) from None
    return handle
