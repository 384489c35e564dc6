"""Watch a camera, a stream or a file as it goes on, and tell of events while they happen: ``clap watch``."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.events import DEFAULT_MAX_GAP, DEFAULT_MIN_LENGTH
from ..core.ongoing import DEFAULT_MAX_LENGTH, Change, OngoingEvents
from ..detector.threads import fixed_threads
from ..errors import ClapError
from ..features.extractor import EXTRACTORS
from ..features.video_extractor import VideoExtractor
from ..live.backoff import Backoff
from ..live.journal import Journal, Watch
from ..live.lines import EventLines
from ..live.page import PageKeeper
from ..live.telling import Telling
from ..live.timeline import Timeline
from ..live.watching import ScoredSegment, Watching
from ..live.webhook import Webhook
from ..progress import progress_bar
from ..video.address import Address
from ..video.live import Connected, Dropped, Ended, LiveReader, Lost
from ..video.recorder import Recorder
from .scoring import choose_threshold, scoring_parts

__all__ = ["DATABASE", "LINES", "PAGE", "watch"]

DATABASE, LINES, PAGE = "watch.db", "events.jsonl", "report.html"

_IDLE = 1.0  # seconds after which it is looked whether an event has ended because nothing comes
_SIGN_OF_LIFE = 10.0
_LATENCIES = 10_000  # newest that the summary tells of


def watch(
    run: Path,
    source: str,
    *,
    out: Path = Path("watch"),
    camera: str | None = None,
    scene: str | None = None,
    threshold: float | None = None,
    quantile: float | None = None,
    max_gap: float = DEFAULT_MAX_GAP,
    min_length: float = DEFAULT_MIN_LENGTH,
    max_length: float = DEFAULT_MAX_LENGTH,
    clips: bool = True,
    before: float = 5.0,
    after: float = 5.0,
    webhook: str | None = None,
    seconds: float | None = None,
    here: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Score a source as its pictures come, causally, until it ends, Ctrl-C, SIGTERM or ``seconds`` have gone by.

    Several cameras may be watched into one folder, each by a process of its own.

    Args:
        run, scene, threshold, quantile, max_gap, min_length, here: as for :func:`~clap_vad.workflows.score.score`.
        source: ``rtsp://...`` or another address, ``camera:0``, a video file, or a folder of frames.
        out: folder of ``watch.db``, ``events.jsonl``, ``clips/`` and ``report.html``.
        camera: its name; by default the scene, the address, or the name of the file.
        max_length: seconds after which an event is closed and another begins.
        clips: save a clip of each event, as the source sent it.
        before, after: seconds of a clip before and behind the event.
        webhook: URL to post each event to as JSON.
        seconds: stop after so many.
        tell: takes sentences for the operator, such as of a lost connection.

    Returns:
        A JSON-able dict: ``run``, ``source``, ``camera``, ``threshold``, ``events``, ``segments``, ``frames``,
        ``dropped_frames``, ``unscored_segments`` (features not finite), ``outages``, ``seconds``, ``latency`` in
        seconds {p50, p95, max}, ``webhook`` {sent, refused, dropped}, ``ended``, and the files.

    Raises:
        ClapError: no usable model, one of features that no pictures give, bad options, or a file that cannot be read.
    """
    address = Address.of(source)
    model, extractor = scoring_parts(run, scene, here)
    if not isinstance(extractor, VideoExtractor):
        seeing = ", ".join(name for name in EXTRACTORS if issubclass(EXTRACTORS[name], VideoExtractor))
        raise ClapError(f"{run}: its features are not made of pictures; train on features of one of {seeing} to watch")
    for name, value in (("before", before), ("after", after), ("seconds", seconds)):
        if value is not None and not 0 <= value < 86400 * 3650:
            raise ClapError(f"--{name}: {value}; a number of seconds, 0 or more, is needed")
    limit, used_quantile = choose_threshold(model, run, threshold, quantile)
    events = OngoingEvents(threshold=limit, max_gap=max_gap, min_length=min_length, max_length=max_length)
    named = camera or scene or (address.path.stem if address.path is not None else address.shown)
    about = Watch(
        named,
        address.shown,
        str(run),
        str(model.info.get("model_sha256", "")),
        str(model.info["extractor"]["name"]),
        limit,
        "wall" if address.live else "file",
    )
    out.mkdir(parents=True, exist_ok=True)
    hook = Webhook(webhook, tell) if webhook else None
    journal = Journal(out / DATABASE, about, time.time(), tell)
    lines = EventLines(out / LINES, tell)
    recorder = Recorder(before, tell) if clips else None
    backoff = Backoff(named)
    page = PageKeeper(out / DATABASE, out / PAGE, tell)
    desk = _Desk(about, journal, Telling(out, about, journal, lines, hook, recorder, before, after), backoff, page)
    reader = LiveReader(
        address,
        side=extractor.picture_side,
        colour=extractor.colour,
        rate=extractor.rate,
        fps=extractor.fps,
        wait=lambda: backoff.wait(time.monotonic()),
        recorder=recorder,
    )
    ended = "error"
    try:
        with _stopping() as stop, fixed_threads(1), progress_bar(f"watch {named}", None) as advance, reader:
            ended = _loop(reader, Watching(model, extractor, events), desk, stop, seconds, advance, tell)
    finally:
        desk.close()
        if recorder is not None:
            recorder.close()
        journal.close(time.time(), ended)
        lines.close()
        unsent = hook.close() if hook is not None else 0
        page.close()
    return {
        "run": str(run),
        "source": address.shown,
        "camera": named,
        "threshold": limit,
        "quantile": used_quantile,
        **desk.summary(),
        "webhook": None if hook is None else _sent(hook, unsent),
        "ended": ended,
        "database": str(out / DATABASE),
        "lines": str(out / LINES),
        "report": str(out / PAGE),
    }


class _Desk:
    """Where what is seen is written down and counted."""

    def __init__(self, about: Watch, journal: Journal, telling: Telling, backoff: Backoff, page: PageKeeper) -> None:
        self.by_the_wall = about.clock == "wall"
        self._journal, self._telling = journal, telling
        self._backoff, self._page = backoff, page
        self._timeline = Timeline()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._worst = 0.0
        self._events = self._segments = self._frames = self._dropped = self._unscored = self._outages = 0
        self._seconds = 0.0
        self._lost_at: float | None = None
        self._reason = ""
        self._alive = 0.0
        self.last = ""

    def connected(self, item: Connected) -> None:
        self._backoff.succeeded(time.monotonic())
        if self._lost_at is not None:
            self._journal.outage(self._outages - 1, self._lost_at, max(item.seconds, self._lost_at), self._reason)
            self._lost_at = None

    def lost(self, item: Lost) -> None:
        if self._lost_at is None:
            self._lost_at = item.seconds
            self._outages += 1
        self._reason = item.reason
        self._journal.outage(self._outages - 1, self._lost_at, None, item.reason)

    def dropped(self, count: int) -> None:
        self._dropped += count
        self._timeline.drop(count)

    def scored(self, segment: ScoredSegment) -> None:
        self._segments += 1
        self._frames += segment.frames
        self._seconds += segment.stop - segment.start
        self._latencies.append(segment.latency)
        self._worst = max(self._worst, segment.latency)
        if not np.isfinite(segment.score):
            self._unscored += 1
            return
        self.last = f"score {segment.score:.3f}, {self._events} events, {1000 * segment.latency:.0f} ms behind"
        row = self._timeline.add(segment.start, segment.stop, segment.score, segment.frames, segment.latency)
        if row is not None:
            self._journal.timeline(row)

    def changed(self, changes: list[Change]) -> None:
        for change in changes:
            self._events += change.kind == "opened"
            self._telling.tell(change)
            if change.kind == "closed":
                self._page.wanted()

    def alive(self) -> None:
        now = time.monotonic()
        if now - self._alive >= _SIGN_OF_LIFE:
            self._alive = now
            self._journal.alive(time.time())
            self._page.wanted()

    def close(self) -> None:
        row = self._timeline.finish()
        if row is not None:
            self._journal.timeline(row)

    def summary(self) -> dict[str, Any]:
        known = np.array(self._latencies)
        half, most = np.quantile(known, (0.5, 0.95)).tolist() if len(known) else (None, None)
        return {
            "events": self._events,
            "segments": self._segments,
            "frames": self._frames,
            "dropped_frames": self._dropped,
            "unscored_segments": self._unscored,
            "outages": self._outages,
            "seconds": self._seconds,
            "latency": {"p50": half, "p95": most, "max": self._worst} if len(known) else None,
        }


def _loop(
    reader: LiveReader,
    watching: Watching,
    desk: _Desk,
    stop: threading.Event,
    seconds: float | None,
    advance: Callable[..., None],
    tell: Callable[[str], None],
) -> str:
    """Until there is nothing more to watch; why."""
    until = time.monotonic() + seconds if seconds is not None else float("inf")
    ended = ""
    while not ended:
        item = reader.next(_IDLE)
        if item is None:
            desk.changed(watching.pass_until(time.time()) if desk.by_the_wall else [])
        else:
            segment, changes = watching.take(item)
            if segment is not None:
                desk.scored(segment)
                advance(1, note=desk.last)
            desk.changed(changes)
        match item:
            case Connected():
                desk.connected(item)
                tell(f"connected, {item.fps:.4g} pictures a second")
            case Lost():
                desk.lost(item)
                tell(f"{item.reason}; next try in {item.again_in:.0f} s")
            case Dropped():
                desk.dropped(item.count)
                tell(f"{item.count} pictures were dropped: this machine does not keep up")
            case Ended():
                ended = "the file ended" + (f": {item.remark}" if item.remark else "")
        desk.alive()
        if stop.is_set():
            ended = "stopped"
        elif time.monotonic() >= until:
            ended = f"{seconds:g} seconds have gone by"
    desk.changed(watching.close())
    return ended


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that what is open is closed; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sent(hook: Webhook, unsent: int) -> dict[str, int]:
    return {"sent": hook.sent, "refused": hook.refused, "dropped": hook.dropped + unsent}
