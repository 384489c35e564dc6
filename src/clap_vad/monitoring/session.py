"""A monitoring session: one camera, from its pictures to event sinks, in a thread; a process may run several."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..backoff import Backoff
from ..core.events.ongoing import Change, OngoingEvents
from ..core.events.policy import EventPolicy
from ..detector.model import Model
from ..features.extraction.video_extractor import VideoExtractor
from ..video.live import LiveReader
from ..video.live_items import Connected, Dropped, Ended, Item, Lost, Noted
from ..video.stream_items import Look
from .camera import Camera
from .clock import WallClock
from .recorder import WatchRecorder
from .segments import ScoredSegment, SegmentScorer
from .sink import SessionInfo, SinkContext, Sinks, choose_sinks

__all__ = ["MonitoringSession", "SessionStatus"]

_SELDOM = 8.0  # pictures a second, below the rates of training videos
_IDLE = 1.0  # seconds without an item after which events are checked for their end


@dataclass(frozen=True)
class SessionStatus:
    """The present status of a session.

    Attributes:
        camera: its name.
        state: whether it has been started and has ended.
        connected: whether pictures arrive.
        ended: why it ended; None before.
        segments: number of scored segments.
        note: a few words about the newest segment.
    """

    camera: str
    state: Literal["new", "running", "ended"]
    connected: bool
    ended: str | None
    segments: int
    note: str


class MonitoringSession:
    """Monitors a camera from :meth:`start` until it is stopped or its file ends.

    The process that owns sessions runs them within :func:`~clap_vad.detector.threads.fixed_threads` of one thread, held
    by a thread that outlives them: the number of threads is one setting per process.

    Args:
        camera: what is monitored.
        run: folder of the model, for the records.
        model, extractor: of that run; sessions may share them.
        policy: the event policy.
        folder: for its files; sessions of several cameras may share one.
        sinks, sink_settings: of each sink, and of all; see :func:`~clap_vad.monitoring.sink.choose_sinks`.
        report: called with messages for the operator, such as a lost connection; from the session's threads.

    Attributes:
        error: the error that ended it; None otherwise.

    Raises:
        ClapError: an unknown sink, or a setting out of range.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        run: Path,
        model: Model,
        extractor: VideoExtractor,
        policy: EventPolicy,
        folder: Path,
        sinks: Mapping[str, Mapping[str, Any] | None] | None = None,
        sink_settings: Mapping[str, Any] | None = None,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.camera = camera
        self.error: BaseException | None = None
        self._model, self._extractor, self._policy = model, extractor, policy
        self._folder, self._report = folder, report
        self._settings = choose_sinks(sinks or {}, sink_settings)
        self._info = SessionInfo(
            camera.name,
            camera.shown,
            str(run),
            str(model.info.get("model_sha256", "")),
            str(model.info["extractor"]["name"]),
            policy.threshold,
            camera.clock,
        )
        self._sinks: Sinks | None = None
        self._recorder: WatchRecorder | None = None
        self._stop, self._done = threading.Event(), threading.Event()
        self._reason = "stopped"
        self._ended: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"monitoring {camera.name}", daemon=True)

    def start(self) -> None:
        """Open the sinks and begin.

        Raises:
            ClapError, OSError: a sink cannot be opened, or the camera is monitored already.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sinks = Sinks(self._settings, SinkContext(self._folder, self._info, self._report))
        clock = WallClock(self._report) if self.camera.address.live else WallClock.of_file(self._report)
        self._recorder = WatchRecorder(self._sinks, clock)
        self._thread.start()

    def stop(self, reason: str = "stopped") -> None:
        """Request its end, for this reason; returns at once."""
        if not self._stop.is_set():
            self._reason = reason
            self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended and its sinks are closed, at most ``timeout`` seconds; whether it has."""
        return self._done.wait(timeout)

    def status(self) -> SessionStatus:
        """Its present status."""
        recorder, done = self._recorder, self._done.is_set()
        if recorder is None:
            return SessionStatus(self.camera.name, "new", False, None, 0, "")
        return SessionStatus(
            camera=self.camera.name,
            state="ended" if done else "running",
            connected=recorder.connected and not done,
            ended=self._ended if done else None,
            segments=recorder.segments,
            note=recorder.note,
        )

    def summary(self) -> dict[str, Any]:
        """The summary so far, and where it was written, fit for JSON; see ``docs/watch.md``."""
        assert self._recorder is not None and self._sinks is not None, "the session has not been started"
        return {**self._recorder.summary(), **self._sinks.summary(), "ended": self._ended}

    def _run(self) -> None:
        ended = "error"
        try:
            ended = self._monitor()
        except BaseException as error:
            self.error = error
        finally:
            self._close(ended)

    def _close(self, ended: str) -> None:
        assert self._recorder is not None and self._sinks is not None  # it has been started
        try:
            self._recorder.close()
            self._sinks.each(lambda sink: sink.close(ended))
        finally:
            self._ended = ended
            self._done.set()

    def _monitor(self) -> str:
        """Monitor until the end; returns the reason."""
        assert self._recorder is not None and self._sinks is not None  # it has been started
        camera, recorder, extractor = self.camera, self._recorder, self._extractor
        look = Look(extractor.picture_side, extractor.colour, camera.rate, extractor.fps, camera.track)
        scorer, events = SegmentScorer(self._model, extractor), OngoingEvents(self._policy)
        ended = ""
        reading = LiveReader(
            camera.address, look, backoff=Backoff(camera.name), recorder=self._sinks.recorder, poll=camera.poll
        )
        with reading as reader:
            while not ended:
                item = reader.next(_IDLE)
                segment = None if item is None else scorer.take(item)
                if segment is not None:
                    recorder.scored(segment)
                recorder.changed(_changes(events, item, segment, camera.address.live))
                if item is not None:
                    recorder.happened(item)
                    self._report_item(item)
                recorder.alive()
                if isinstance(item, Ended):
                    ended = "the file ended" + (f": {item.remark}" if item.remark else "")
                if self._stop.is_set():
                    ended = self._reason
        recorder.changed(events.finish())
        return ended

    def _report_item(self, item: Item) -> None:
        match item:
            case Connected():
                slow = _slow(item.fps, self._extractor.segment_frames)
                self._report(f"connected, {item.fps:.4g} pictures a second{slow}")
            case Lost():
                self._report(f"{item.reason}; next try in {item.again_in:.0f} s")
            case Noted():
                self._report(item.sentence)
            case Dropped():
                self._report(f"{item.count} pictures were dropped: this machine does not keep up")


def _changes(events: OngoingEvents, item: Item | None, segment: ScoredSegment | None, live: bool) -> list[Change]:
    """Changes of events after an item (None: no item came) and the segment that it completed, if any."""
    changes: list[Change] = []
    if segment is not None and segment.scored:
        changes += events.add(segment.start, segment.stop, segment.score, segment.region)
    if isinstance(item, Ended):
        changes += events.finish()
    elif isinstance(item, Lost):
        changes += events.pass_until(item.seconds)
    elif item is None and live:
        changes += events.pass_until(time.monotonic())
    return changes


def _slow(fps: float, frames: int) -> str:
    """A note about a camera with a low picture rate."""
    if fps >= _SELDOM:
        return ""
    return (
        f": a segment of {frames} pictures lasts {frames / fps:.3g} s; shorter events may be missed, and scores are "
        "less certain than at the rate of the training videos"
    )
