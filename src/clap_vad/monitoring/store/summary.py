"""The event store's data for the report page, read while sessions go on."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.events.regions import Region
from ...core.text.logins import shown_address, shown_reason
from ...errors import ClapError
from ..camera import Clock
from ..timeline import ROW_SECONDS
from .opening import open_to_read, unreadable

__all__ = ["CameraSummary", "OutageRow", "StoredEvent", "read_summary"]


@dataclass(frozen=True)
class StoredEvent:
    """A row of the table ``events``, its times on the clock of its session."""

    watch: int
    number: int
    start: float
    stop: float
    peak: float
    score: float
    region: Region | None
    clip: str | None
    state: str


@dataclass(frozen=True)
class OutageRow:
    """A row of the table ``outages``; ``stop`` is None while it lasts."""

    watch: int
    start: float
    stop: float | None
    reason: str


@dataclass(frozen=True)
class CameraSummary:
    """One camera between two times.

    Attributes:
        camera, clock: of the sessions. On a file's clock only the last session counts: earlier ones had the same times.
        source, threshold, reason: of the last session; ``reason`` is None while it goes on, or after a kill until the
            next session.
        seen: Unix seconds of its last sign of life.
        start, stop: the times on the clock.
        events: number of events that begin in this time.
        newest: the listed ones of them, newest first.
        outages: those that overlap this time, newest first.
        seconds: scored seconds of the stream.
        frames, dropped_frames: in these seconds.
        latency_mean, latency_max: seconds; None if not measured.
        bins: (n + 1,) edges of the timeline, equally wide.
        max_score, mean_score: (n,) per bin, NaN where nothing was scored.
    """

    camera: str
    clock: Clock
    source: str
    threshold: float
    reason: str | None
    seen: float
    start: float
    stop: float
    events: int
    newest: tuple[StoredEvent, ...]
    outages: tuple[OutageRow, ...]
    seconds: float
    frames: int
    dropped_frames: int
    latency_mean: float | None
    latency_max: float | None
    bins: np.ndarray
    max_score: np.ndarray
    mean_score: np.ndarray


def read_summary(
    path: Path,
    *,
    since: float | None = None,
    until: float | None = None,
    newest: float | None = None,
    bins: int = 240,
    most_events: int = 200,
) -> list[CameraSummary]:
    """Every camera of a database, by name.

    Args:
        path: the database.
        since, until: times on the cameras' clocks; None for the first and the last time.
        newest: instead of ``since``: this many seconds before the last time of each camera.
        bins: largest number per timeline; a bin is at least as long as a row of the database, 10 seconds.
        most_events: largest number of listed events per camera.

    Raises:
        ClapError: no event store, or a damaged one.
    """
    db = open_to_read(path)
    try:
        db.execute("BEGIN")  # one consistent snapshot
        watches = db.execute("SELECT camera, clock, max(id) FROM watches GROUP BY camera, clock ORDER BY camera, clock")
        return [
            _camera(db, camera, clock, last, since, until, newest, bins, most_events)
            for camera, clock, last in watches.fetchall()
        ]
    except sqlite3.Error as error:
        raise ClapError(f"{path}: {unreadable(error)}") from None
    finally:
        db.close()


def _camera(
    db: sqlite3.Connection,
    camera: str,
    clock: Clock,
    last: int,
    since: float | None,
    until: float | None,
    newest: float | None,
    bins: int,
    most_events: int,
) -> CameraSummary:
    source, threshold, reason, seen = db.execute(
        "SELECT source, threshold, reason, seen FROM watches WHERE id = ?", (last,)
    ).fetchone()
    chosen = db.execute(
        "SELECT id FROM watches WHERE camera = ? AND clock = ? AND (clock = 'wall' OR id = ?)", (camera, clock, last)
    )
    own = f"watch IN ({', '.join(str(int(number)) for (number,) in chosen)})"
    first, end = db.execute(f"SELECT min(start_time), max(start_time + seconds) FROM timeline WHERE {own}").fetchone()
    if since is None and newest is not None and first is not None:
        since = max(first, end - newest)
    start = since if since is not None else (0.0 if first is None else first)
    stop = max(start, until if until is not None else (start if end is None else end))
    timeline = db.execute(
        "SELECT start_time, seconds, segments, max_score, mean_score, frames, dropped_frames, latency_mean, "
        f"latency_max FROM timeline WHERE {own} AND start_time >= ? AND start_time <= ? ORDER BY start_time",
        (start, stop),
    ).fetchall()
    events = db.execute(
        "SELECT watch, number, start_time, stop_time, peak_time, peak_score, region_left, region_top, region_right, "
        f"region_bottom, clip, state FROM events WHERE {own} AND start_time >= ? AND start_time <= ? "
        "ORDER BY start_time DESC, number DESC LIMIT ?",
        (start, stop, most_events),
    ).fetchall()
    (count,) = db.execute(
        f"SELECT count(*) FROM events WHERE {own} AND start_time >= ? AND start_time <= ?", (start, stop)
    ).fetchone()
    outages = db.execute(
        f"SELECT watch, start_time, stop_time, reason FROM outages WHERE {own} AND start_time <= ? "
        "AND coalesce(stop_time, ?) >= ? ORDER BY start_time DESC",
        (stop, stop, start),
    )
    bins = max(1, min(bins, int((stop - start) // ROW_SECONDS)))
    edges, highest, mean = _binned(np.array([row[:5] for row in timeline], float).reshape(-1, 5), start, stop, bins)
    timed = [(row[7], row[2], row[8]) for row in timeline if row[7] is not None]
    return CameraSummary(
        camera=shown_address(camera),  # an older release may have written the row
        clock=clock,
        source=shown_address(source),
        threshold=threshold,
        reason=reason,
        seen=seen,
        start=start,
        stop=stop,
        events=count,
        newest=tuple(_event(row) for row in events),
        outages=tuple(OutageRow(one, start, stop, shown_reason(why)) for one, start, stop, why in outages),
        seconds=sum(row[1] for row in timeline),
        frames=sum(row[5] for row in timeline),
        dropped_frames=sum(row[6] for row in timeline),
        latency_mean=sum(one * count for one, count, _ in timed) / sum(n for _, n, _ in timed) if timed else None,
        latency_max=max((most for _, _, most in timed), default=None),
        bins=edges,
        max_score=highest,
        mean_score=mean,
    )


def _event(row: tuple[Any, ...]) -> StoredEvent:
    watch, number, start, stop, peak, score, left, top, right, bottom, clip, state = row
    region = None if left is None else (left, top, right, bottom)
    return StoredEvent(watch, number, start, stop, peak, score, region, clip, state)


def _binned(rows: np.ndarray, start: float, stop: float, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, highest and mean score of the rows (start, seconds, segments, highest, mean) by their middle."""
    edges = np.linspace(start, stop, bins + 1)
    highest, mean = np.full(bins, -np.inf), np.full(bins, np.nan)
    width = max(stop - start, 1e-9)
    at = np.clip(((rows[:, 0] + rows[:, 1] / 2 - start) / width * bins).astype(np.int64), 0, bins - 1)
    np.maximum.at(highest, at, rows[:, 3])
    weight = np.bincount(at, rows[:, 2], bins)
    seen = weight > 0
    mean[seen] = np.bincount(at, rows[:, 2] * rows[:, 4], bins)[seen] / weight[seen]
    return edges, np.where(seen, highest, np.nan), mean
