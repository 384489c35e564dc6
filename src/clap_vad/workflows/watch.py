"""Watch a camera, a stream or a file as it goes on, and tell of events while they happen: ``clap watch``."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.events.detection import DEFAULT_MAX_GAP, DEFAULT_MIN_LENGTH
from ..core.events.ongoing import DEFAULT_MAX_LENGTH, OngoingEvents
from ..core.text.logins import shown_address
from ..detector.threads import fixed_threads
from ..errors import ClapError, unprintable
from ..features.extraction.extractor import EXTRACTORS
from ..features.extraction.video_extractor import VideoExtractor
from ..live.backoff import Backoff
from ..live.desk import Desk
from ..live.files import DATABASE, LINES, PAGE
from ..live.journal import Journal, Watch
from ..live.lines import EventLines
from ..live.moments import Moments
from ..live.page import PageKeeper
from ..live.telling import Telling
from ..live.watching import Watching
from ..live.webhook import Webhook
from ..progress import progress_bar
from ..video.address import Address
from ..video.live import Connected, Dropped, Ended, LiveReader, Lost, Noted
from ..video.recorder import Recorder
from .scoring import choose_threshold, scoring_parts

__all__ = ["watch"]

_SELDOM = 8.0  # pictures a second, below the least that surveillance videos for training have
_IDLE = 1.0  # seconds after which it is looked whether an event has ended because nothing comes


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
    poll: float | None = None,
    seconds: float | None = None,
    here: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Score a source as its pictures come, causally, until it ends, a signal asks to stop or ``seconds`` have gone by.

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
        poll: seconds between two requests to a camera that gives one picture per request; None finds a value.
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
    if poll is not None and not 0.01 <= poll <= 3600:
        raise ClapError(f"--poll: {poll}; a number of seconds from 0.01 to 3600 is needed")
    if poll is not None and not address.may_be_asked:
        raise ClapError("--poll is for cameras that give one picture per request, at http:// or https://; leave it out")
    limit, used_quantile = choose_threshold(model, run, threshold, quantile)
    events = OngoingEvents(threshold=limit, max_gap=max_gap, min_length=min_length, max_length=max_length)
    named = shown_address(camera) if camera else scene or (address.path.stem if address.path else address.shown)
    if unprintable(named):
        raise ClapError(f"--camera: {named!r} cannot name a camera; give it a name of printable characters")
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
    moments = Moments(tell) if address.live else Moments(tell, float, float)  # a file's seconds name themselves
    telling = Telling(out, about, journal, lines, hook, recorder, before, after, moments)
    desk = Desk(about, journal, telling, backoff, page, moments)
    reader = LiveReader(
        address,
        side=extractor.picture_side,
        colour=extractor.colour,
        rate=extractor.rate,
        fps=extractor.fps,
        track=extractor.track,
        wait=lambda: backoff.wait(time.monotonic()),
        recorder=recorder,
        poll=poll,
    )
    ended = "error"
    try:
        with _stopping() as stop, fixed_threads(1), progress_bar(f"watch {named}", None) as advance, reader:
            ended = _loop(
                reader, Watching(model, extractor, events), desk, stop, seconds, advance, tell, extractor.segment_frames
            )
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


def _loop(
    reader: LiveReader,
    watching: Watching,
    desk: Desk,
    stop: threading.Event,
    seconds: float | None,
    advance: Callable[..., None],
    tell: Callable[[str], None],
    frames: int,
) -> str:
    """Until there is nothing more to watch; why."""
    until = time.monotonic() + seconds if seconds is not None else float("inf")
    ended = ""
    while not ended:
        item = reader.next(_IDLE)
        if item is None:
            desk.changed(watching.pass_until(time.monotonic()) if desk.by_the_wall else [])
        else:
            segment, changes = watching.take(item)
            if segment is not None:
                desk.scored(segment)
                advance(1, note=desk.last)
            desk.changed(changes)
        match item:
            case Connected():
                desk.connected(item)
                tell(f"connected, {item.fps:.4g} pictures a second" + _slow(item.fps, frames))
            case Lost():
                desk.lost(item)
                tell(f"{item.reason}; next try in {item.again_in:.0f} s")
            case Noted():
                tell(item.sentence)
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


def _slow(fps: float, frames: int) -> str:
    """What to know of a camera whose pictures come seldom."""
    if fps >= _SELDOM:
        return ""
    return (
        f": a segment of {frames} pictures lasts {frames / fps:.3g} s; shorter events may be missed, and scores are "
        "less certain than at the rate of the training videos"
    )


@contextlib.contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and the end of the terminal set, so that what is open is closed; a second one stops
    at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # its terminal was closed; nohup asks to go on
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _sent(hook: Webhook, unsent: int) -> dict[str, int]:
    return {"sent": hook.sent, "refused": hook.refused, "dropped": hook.dropped + unsent}
