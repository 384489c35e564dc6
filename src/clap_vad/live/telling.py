"""Whoever is told of events: the journal, lines of JSON, a webhook, and the clips beside them."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from pathlib import Path

from ..core.events.ongoing import Change, OngoingEvent
from ..video.recorder import Recorder
from .files import CLIPS
from .journal import Journal, Watch
from .lines import EventLines
from .message import event_message
from .moments import Moments
from .webhook import Webhook

__all__ = ["Telling"]


class Telling:
    """Passes changes on; nothing here stops a watch.

    Args:
        folder: of the watch; clips go to ``clips/`` in it.
        watch: what is watched.
        journal, lines: opened for it.
        webhook: or None.
        recorder: makes clips, or None.
        before, after: seconds of a clip before and behind its event.
        moments: names them; all times of an event by the clock as it stood when the event opened.
    """

    def __init__(
        self,
        folder: Path,
        watch: Watch,
        journal: Journal,
        lines: EventLines,
        webhook: Webhook | None,
        recorder: Recorder | None,
        before: float,
        after: float,
        moments: Moments,
    ) -> None:
        self._folder, self._watch, self._journal, self._lines = folder, watch, journal, lines
        self._webhook, self._recorder = webhook, recorder
        self._before, self._after, self._moments = before, after, moments
        self._clips: dict[int, Path] = {}
        self._named: dict[int, float] = {}

    def tell(self, change: Change) -> None:
        """Write a change down and pass it on."""
        own = change.event
        named = self._named.setdefault(own.number, self._moments.offset)
        event = replace(own, start=own.start + named, stop=own.stop + named, peak=own.peak + named)
        self._journal.event(event, "closed" if change.kind == "closed" else "open")
        if change.kind == "opened":
            self._begin_clip(event, named)
        if change.kind == "peak":
            return
        clip = self._clips.get(event.number)
        told = event_message(
            change.kind,
            event,
            camera=self._watch.camera,
            watch=self._journal.watch,
            clock=self._watch.clock,
            threshold=self._watch.threshold,
            clip=None if clip is None else str(clip.relative_to(self._folder)),
        )
        self._lines.append(told)
        if self._webhook is not None:
            self._webhook.send(told)
        if change.kind == "closed":
            del self._named[event.number]
            if clip is not None and self._recorder is not None:
                self._recorder.end(clip, own.stop + self._after)
                del self._clips[event.number]

    def _begin_clip(self, event: OngoingEvent, named: float) -> None:
        """Start the clip of an event whose times are ``named`` later than those of the stream's clock."""
        if self._recorder is None:
            return
        name = f"{_file_name(self._watch.camera)}-{_moment(event.start, self._watch.clock)}"
        clip = self._recorder.begin(self._folder / CLIPS, name, event.start - named - self._before, named)
        if clip is not None:
            self._clips[event.number] = clip
            self._journal.clip(event.number, str(clip.relative_to(self._folder)))


def _moment(seconds: float, clock: str) -> str:
    if clock == "file":
        return f"{seconds:010.3f}s"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def _file_name(camera: str) -> str:
    """What every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", camera).strip(".-")[:60] or "camera"
