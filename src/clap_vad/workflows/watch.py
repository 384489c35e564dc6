"""Monitor a camera, a stream or a file as it goes on, and report events while they happen: ``clap watch``."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.events.policy import EventPolicy, check_seconds
from ..detector.threads import fixed_threads
from ..errors import ClapError
from ..features.extraction.extractor import EXTRACTORS
from ..features.extraction.video_extractor import VideoExtractor
from ..monitoring.camera import Camera
from ..monitoring.session import MonitoringSession
from ..monitoring.sinks.clips import ClipSettings
from ..progress import progress_bar
from .scoring import choose_threshold, scoring_parts

__all__ = ["watch"]

_LOOK = 0.5  # seconds from one look at a session to the next
_FAREWELL = 10.0  # seconds for a session to end after a second Ctrl-C


def watch(
    run: Path,
    source: str,
    *,
    out: Path = Path("watch"),
    camera: str | None = None,
    scene: str | None = None,
    threshold: float | None = None,
    quantile: float | None = None,
    max_gap: float = EventPolicy.max_gap,
    min_length: float = EventPolicy.min_length,
    max_length: float = EventPolicy.max_length,
    clips: bool = True,
    before: float = ClipSettings.before,
    after: float = ClipSettings.after,
    webhook: str | None = None,
    poll: float | None = None,
    seconds: float | None = None,
    here: Mapping[str, Any] | None = None,
    sink_settings: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Score a source as its pictures come, causally, until it ends, a signal asks to stop or ``seconds`` have gone by.

    Several cameras may be watched into one folder.

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
        sink_settings: of further event sinks, see :mod:`clap_vad.monitoring.sink`.
        tell: takes sentences for the operator, such as of a lost connection; called from another thread.

    Returns:
        A JSON-able dict: ``run``, ``source``, ``camera``, ``threshold``, ``events``, ``segments``, ``frames``,
        ``dropped_frames``, ``unscored_segments`` (features not finite), ``outages``, ``seconds``, ``latency`` in
        seconds {p50, p95, max}, ``webhook`` {sent, refused, dropped}, ``ended``, and the files.

    Raises:
        ClapError: no usable model, one of features that no pictures give, bad options, or a file that cannot be read.
    """
    asked = Camera.of(source, camera or scene, poll)
    model, extractor = scoring_parts(run, scene, here)
    if not isinstance(extractor, VideoExtractor):
        seeing = ", ".join(name for name in EXTRACTORS if issubclass(EXTRACTORS[name], VideoExtractor))
        raise ClapError(f"{run}: its features are not made of pictures; train on features of one of {seeing} to watch")
    if seconds is not None:
        check_seconds("--seconds", seconds)
    limit, used_quantile = choose_threshold(model, run, threshold, quantile)
    session = MonitoringSession(
        replace(asked, rate=extractor.rate, track=extractor.track),
        run=run,
        model=model,
        extractor=extractor,
        policy=EventPolicy(threshold=limit, max_gap=max_gap, min_length=min_length, max_length=max_length),
        folder=out,
        sinks={"clips": {"before": before, "after": after} if clips else None, "webhook": {"url": webhook or ""}},
        sink_settings=sink_settings,
        report=tell,
    )
    with fixed_threads(1):
        _until_it_ends(session, seconds)
    return {
        "run": str(run),
        "source": asked.shown,
        "camera": asked.name,
        "threshold": limit,
        "quantile": used_quantile,
        "webhook": None,
        **session.summary(),
    }


def _until_it_ends(session: MonitoringSession, seconds: float | None) -> None:
    """Run a session until it ends, a signal asks to stop or ``seconds`` have gone by.

    Raises:
        ClapError: what ended it.
    """
    session.start()
    until = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        with _stopped_by_signals(session), progress_bar(f"watch {session.camera.name}", None) as advance:
            shown = 0
            while not session.wait(min(_LOOK, max(until - time.monotonic(), 0.01))):
                status = session.status()
                advance(status.segments - shown, note=status.note)
                shown = status.segments
                if time.monotonic() >= until:
                    session.stop(f"{seconds:g} seconds have gone by")
    except BaseException:
        session.stop()
        session.wait(_FAREWELL)
        raise
    if session.error is not None:
        raise session.error


@contextlib.contextmanager
def _stopped_by_signals(session: MonitoringSession) -> Iterator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal stop the session, so that what is open is closed; a second one stops
    at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        session.stop()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # its terminal was closed; nohup asks to go on
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
