"""The message about an event for programs: one JSON object, for JSON lines and webhook alike. It holds no picture."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .sink import EventNotice, SessionInfo

__all__ = ["event_message"]


def event_message(notice: EventNotice, info: SessionInfo) -> dict[str, Any]:
    """The object, fit for JSON; ``docs/watch.md`` explains its fields.

    Args:
        notice: of an event that has opened or closed.
        info: of the session.

    >>> from clap_vad.core.events.ongoing import OngoingEvent
    >>> info = SessionInfo("gate", "rtsp://cam/1", "run", "ab" * 32, "motion", 0.5, "wall")
    >>> event = OngoingEvent(0, 1e9, 1e9 + 2, 1e9 + 1, 0.9)
    >>> found = event_message(EventNotice("opened", event, 0.0, session=3), info)
    >>> found["id"], found["start_utc"], found["region"]
    ('gate/3/0/opened', '2001-09-09T01:46:40.000Z', None)
    """
    event = notice.event
    return {
        "id": f"{info.camera}/{notice.session}/{event.number}/{notice.kind}",
        "event": notice.kind,
        "camera": info.camera,
        "watch": notice.session,
        "number": event.number,
        "clock": info.clock,
        "start": event.start,
        "stop": event.stop,
        "peak": event.peak,
        "start_utc": _utc(event.start) if info.clock == "wall" else None,
        "score": event.score,
        "threshold": info.threshold,
        "region": None if event.region is None else list(event.region),
        "clip": notice.clip,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
