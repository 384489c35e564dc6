"""Clips: the stream of each event as the camera sent it, in ``clips/``."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from ...errors import ClapError
from ...settings import option
from ...video.recorder import Recorder
from ..files import CLIPS
from ..sink import SINKS, EventNotice, Sink, SinkContext, SinkSettings

__all__ = ["ClipSettings", "ClipSink"]


class ClipSink(Sink):
    """Starts a clip before each event and ends it after the event; sets its name for later sinks.

    Args:
        context: of the session.
        before, after: seconds of a clip before and after its event.
    """

    def __init__(self, context: SinkContext, before: float, after: float) -> None:
        self._folder, self._info = context.folder, context.info
        self._before, self._after = before, after
        self._clips: dict[int, Path] = {}
        self._recorder = Recorder(before, context.report)
        self.recorder = self._recorder

    def event(self, notice: EventNotice) -> None:
        event, offset = notice.event, notice.offset
        if notice.kind == "opened":
            name = f"{_file_name(self._info.camera)}-{_moment(event.start, self._info.clock)}"
            begun = self._recorder.begin(self._folder / CLIPS, name, event.start - offset - self._before, offset)
            if begun is not None:
                self._clips[event.number] = begun
        clip = self._clips.get(event.number)
        if clip is None:
            return
        notice.clip = str(clip.relative_to(self._folder))
        if notice.kind == "closed":
            self._recorder.end(clip, event.stop - offset + self._after)
            del self._clips[event.number]

    def close(self, ended: str) -> None:
        self._recorder.close()


@SINKS.register("clips")
@dataclass(frozen=True)
class ClipSettings(SinkSettings):
    """How long clips are."""

    order = 0
    before: float = option(5.0, "seconds of a clip before its event")
    after: float = option(5.0, "seconds of a clip after its event")

    def __post_init__(self) -> None:
        for name, seconds in (("before", self.before), ("after", self.after)):
            if not 0 <= seconds < 86400 * 3650:
                raise ClapError(f"--{name}: {seconds}; a number of seconds, 0 or more, is needed")

    def open(self, context: SinkContext) -> ClipSink:
        return ClipSink(context, self.before, self.after)


def _moment(seconds: float, clock: str) -> str:
    if clock == "file":
        return f"{seconds:010.3f}s"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


def _file_name(camera: str) -> str:
    """A name that every file system accepts."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", camera).strip(".-")[:60] or "camera"
