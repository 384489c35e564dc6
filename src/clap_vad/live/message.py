"""What is told of an event to programs: one JSON object, the same in a line and to a webhook. No picture is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from ..core.events.ongoing import OngoingEvent

__all__ = ["Clock", "event_message"]

Clock = Literal["wall", "file"]
"""Whether times are Unix seconds or seconds of a file's own."""


def event_message(
    kind: Literal["opened", "closed"],
    event: OngoingEvent,
    *,
    camera: str,
    watch: int,
    clock: Clock,
    threshold: float,
    clip: str | None = None,
) -> dict[str, Any]:
    """The object, fit for JSON; ``docs/watch.md`` explains its fields.

    Args:
        kind: what has happened.
        event: as far as it is known.
        camera, watch: whose; the number of the watch as in the database.
        clock, threshold: of the watch.
        clip: where its clip lies, relative to the watch's folder.

    >>> found = event_message("opened", OngoingEvent(0, 1e9, 1e9 + 2, 1e9 + 1, 0.9), camera="gate", watch=3,
    ...     clock="wall", threshold=0.5)
    >>> found["id"], found["start_utc"], found["region"]
    ('gate/3/0/opened', '2001-09-09T01:46:40.000Z', None)
    """
    return {
        "id": f"{camera}/{watch}/{event.number}/{kind}",
        "event": kind,
        "camera": camera,
        "watch": watch,
        "number": event.number,
        "clock": clock,
        "start": event.start,
        "stop": event.stop,
        "peak": event.peak,
        "start_utc": _utc(event.start) if clock == "wall" else None,
        "score": event.score,
        "threshold": threshold,
        "region": None if event.region is None else list(event.region),
        "clip": clip,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
