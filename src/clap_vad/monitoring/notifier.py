"""The event notifier: converts event changes to the session's clock and passes them to the sinks."""

from __future__ import annotations

from dataclasses import replace

from ..core.events.ongoing import Change
from .clock import WallClock
from .sink import EventNotice, Sinks

__all__ = ["EventNotifier"]


class EventNotifier:
    """Passes changes of events on to the sinks.

    Args:
        sinks: of the session.
        clock: of the session; all times of an event use its offset at the event's opening.
    """

    def __init__(self, sinks: Sinks, clock: WallClock) -> None:
        self._sinks, self._clock = sinks, clock
        self._offsets: dict[int, float] = {}

    def notify(self, change: Change) -> None:
        """Pass a change on."""
        event = change.event
        offset = self._offsets.setdefault(event.number, self._clock.offset)
        named = replace(event, start=event.start + offset, stop=event.stop + offset, peak=event.peak + offset)
        notice = EventNotice(change.kind, named, offset)
        self._sinks.each(lambda sink: sink.event(notice))
        if change.kind == "closed":
            del self._offsets[event.number]
