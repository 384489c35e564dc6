"""The timeline of a session: one row per ten seconds; rows older than a day are merged to one per minute."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass

from .camera import Clock

__all__ = ["KEPT_WHOLE", "ROW_SECONDS", "THIN_SECONDS", "Timeline", "TimelineRow", "thin"]

ROW_SECONDS = 10.0
THIN_SECONDS = 60.0
KEPT_WHOLE = 86400.0


@dataclass(frozen=True)
class TimelineRow:
    """A row of the table ``timeline``: some consecutive segments.

    Attributes:
        start: time of the first, seconds of the session's clock.
        seconds: their total length.
        segments: how many, at least 1.
        max_score, mean_score: of them.
        frames, dropped_frames: frames in them, and frames dropped since the last row.
        latency_mean, latency_max: seconds from the last frame of a segment to its score; None if not measured.
    """

    start: float
    seconds: float
    segments: int
    max_score: float
    mean_score: float
    frames: int
    dropped_frames: int
    latency_mean: float | None
    latency_max: float | None


class Timeline:
    """Makes rows from segments: a row ends where the clock's next ten seconds begin.

    >>> timeline = Timeline()
    >>> [row for second in range(7, 23) if (row := timeline.add(second, second + 1, 0.5, frames=25))]
    [TimelineRow(start=7, seconds=3, segments=3, max_score=0.5, ...), TimelineRow(start=10, seconds=10, ...)]
    """

    def __init__(self) -> None:
        self._segments: list[tuple[float, float, float, int, float | None]] = []
        self._dropped = 0

    def drop(self, frames: int) -> None:
        """Add dropped frames."""
        self._dropped += frames

    def add(
        self, start: float, stop: float, score: float, frames: int, latency: float | None = None
    ) -> TimelineRow | None:
        """Add a segment [start, stop); returns the previous row if it is complete now."""
        row = None
        if self._segments and start // ROW_SECONDS != self._segments[0][0] // ROW_SECONDS:
            row = self.finish()
        self._segments.append((start, stop, score, frames, latency))
        return row

    def finish(self) -> TimelineRow | None:
        """The row of the segments since the last row; None without segments."""
        if not self._segments:
            return None
        starts, stops, scores, frames, latencies = zip(*self._segments, strict=True)
        known = [latency for latency in latencies if latency is not None]
        row = TimelineRow(
            start=starts[0],
            seconds=sum(stop - start for start, stop in zip(starts, stops, strict=True)),
            segments=len(starts),
            max_score=max(scores),
            mean_score=math.fsum(scores) / len(scores),
            frames=sum(frames),
            dropped_frames=self._dropped,
            latency_mean=math.fsum(known) / len(known) if known else None,
            latency_max=max(known, default=None),
        )
        self._segments, self._dropped = [], 0
        return row


_MERGED = """
SELECT watch, min(start_time), max(start_time), sum(seconds), sum(segments), max(max_score),
       sum(mean_score * segments) / sum(segments), sum(frames), sum(dropped_frames),
       sum(latency_mean * segments) / sum(CASE WHEN latency_mean IS NULL THEN NULL ELSE segments END), max(latency_max)
FROM timeline
WHERE start_time >= ? AND start_time < ? AND {whose}
GROUP BY watch, CAST(start_time / 60 AS INTEGER)
HAVING count(*) > 1
"""


def thin(connection: sqlite3.Connection, watch: int, clock: Clock, since: float, now: float) -> float:
    """Merge rows older than a day to one row per minute, within the caller's transaction.

    Args:
        connection: the database.
        watch, clock: one session on the wall clock thins the rows of all such sessions; on a file's clock, its own.
        since: earlier rows are thinned already.
        now: time on the clock.

    Returns:
        The ``since`` of the next call.
    """
    before = (now - KEPT_WHOLE) // THIN_SECONDS * THIN_SECONDS
    if before <= since:
        return since
    wall = clock == "wall"
    whose = "watch IN (SELECT id FROM watches WHERE clock = 'wall')" if wall else "watch = ?"
    merged = connection.execute(_MERGED.format(whose=whose), (since, before) if wall else (since, before, watch))
    for own, first, last, *values in merged.fetchall():
        connection.execute("DELETE FROM timeline WHERE watch = ? AND start_time BETWEEN ? AND ?", (own, first, last))
        connection.execute(f"INSERT INTO timeline VALUES ({', '.join('?' * 10)})", (own, first, *values))
    return before
