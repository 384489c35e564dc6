"""Event sinks receive the events of a session. A new sink is one new file in ``sinks/``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..core.events.ongoing import OngoingEvent
from ..errors import ClapError
from ..registry import Registry
from ..settings import check_settings, make_with_settings, setting_names
from ..video.recorder import Recorder
from .camera import Clock
from .timeline import TimelineRow

__all__ = [
    "SINKS",
    "EventNotice",
    "Outage",
    "SessionInfo",
    "Sink",
    "SinkContext",
    "SinkSettings",
    "Sinks",
    "choose_sinks",
]


@dataclass(frozen=True)
class SessionInfo:
    """The camera and the model of a session.

    Attributes:
        camera: its name.
        source: file, or address without a login.
        run: folder of the model.
        model_sha256: of the model's arrays.
        extractor: name of its features.
        threshold: score from which a segment is high.
        clock: meaning of the times.
    """

    camera: str
    source: str
    run: str
    model_sha256: str
    extractor: str
    threshold: float
    clock: Clock


@dataclass
class EventNotice:
    """An event has opened, has a higher peak, or is closed.

    Attributes:
        kind: of the change.
        event: as far as known, its times on the session's clock.
        offset: seconds from the stream's clock to those times.
        session: number of the session, set by the database for later sinks.
        clip: file of its clip, relative to the session's folder, set by the clips sink; None without one.
    """

    kind: Literal["opened", "peak", "closed"]
    event: OngoingEvent
    offset: float
    session: int = 0
    clip: str | None = None


@dataclass(frozen=True)
class Outage:
    """A time without pictures, on the session's clock; ``stop`` is None while it lasts. ``number`` counts from 0."""

    number: int
    start: float
    stop: float | None
    reason: str


@dataclass(frozen=True)
class SinkContext:
    """The session, as a sink sees it.

    Attributes:
        folder: for its files.
        info: what is monitored.
        report: called with a message for the operator.
    """

    folder: Path
    info: SessionInfo
    report: Callable[[str], None]


class Sink:
    """An open sink; it overrides the methods that it needs. One thread calls all of them; they return soon."""

    recorder: Recorder | None = None
    """Takes the packets of the stream as received; None if the sink needs none."""

    def event(self, notice: EventNotice) -> None:
        """An event has opened, has a higher peak, or is closed."""

    def outage(self, outage: Outage) -> None:
        """An outage has begun, goes on after another failed try, or is over."""

    def timeline(self, row: TimelineRow) -> None:
        """A row of the timeline: the last ten seconds."""

    def alive(self, now: float) -> None:
        """The session is running at Unix seconds ``now``; called every ten seconds, also in an outage."""

    def close(self, ended: str) -> None:
        """The session has ended for this reason; finish open work in bounded time."""

    def summary(self) -> dict[str, Any]:
        """Entries of the session's summary, fit for JSON."""
        return {}


@dataclass(frozen=True)
class SinkSettings(ABC):
    """Settings of one kind of sink: a frozen dataclass, registered in a file of ``sinks/``.

    Every session opens each registered sink whose settings ask for it.
    """

    order: ClassVar[int] = 9
    """Sinks of lower order come first: later sinks see the entries of a notice that they set."""

    def __post_init__(self) -> None:
        """Raise :class:`ClapError` for a setting out of range."""
        check_settings(self)

    @property
    def wanted(self) -> bool:
        """Whether the sink has work with these settings."""
        return True

    @abstractmethod
    def open(self, context: SinkContext) -> Sink:
        """Open the sink for a new session.

        Raises:
            ClapError, OSError: it cannot be opened.
        """


SINKS: Registry[type[SinkSettings]] = Registry("event sink", "clap_vad.monitoring.sinks")


def choose_sinks(
    chosen: Mapping[str, Mapping[str, Any] | None], common: Mapping[str, Any] | None = None
) -> list[SinkSettings]:
    """Every registered sink with its settings, in order.

    Args:
        chosen: sink -> settings that differ from its defaults, or None to leave the sink out.
        common: settings of every sink that has a setting of this name.

    Raises:
        ClapError: an unknown sink or setting, or a setting out of range.
    """
    found, left = [], set(common or {})
    for name in [*SINKS, *(name for name in chosen if name not in SINKS.names())]:
        own = chosen.get(name, {})
        if own is not None:
            shared = {key: value for key, value in (common or {}).items() if key in setting_names(SINKS[name])}
            found.append(make_with_settings("event sink", name, SINKS[name], {**shared, **own}))
            left -= shared.keys()
    if left:
        raise ClapError(f"no active event sink has a setting '{min(left)}'; leave it out")
    return sorted((sink for sink in found if sink.wanted), key=lambda sink: sink.order)


class Sinks:
    """The open sinks of a session. A sink that raises is reported and stops neither the session nor the others.

    Args:
        settings: of the sinks, in order; see :func:`choose_sinks`.
        context: of the session.

    Raises:
        ClapError, OSError: a sink cannot be opened; the sinks opened before it are closed.
    """

    def __init__(self, settings: list[SinkSettings], context: SinkContext) -> None:
        self._report = context.report
        self._open: list[Sink] = []
        try:
            for one in settings:
                self._open.append(one.open(context))
        except BaseException:
            self.each(lambda sink: sink.close("error"))
            raise

    @property
    def recorder(self) -> Recorder | None:
        """The sinks' recorders of the stream's packets."""
        return next((sink.recorder for sink in self._open if sink.recorder is not None), None)

    def each(self, do: Callable[[Sink], None]) -> None:
        """Call this for every sink, in order."""
        for sink in self._open:
            try:
                do(sink)
            except Exception as error:  # of a sink, which may be third-party code
                failed = f"unexpected {type(error).__name__}"  # its text may contain a secret
                self._report(f"event sink {type(sink).__name__}: {failed}; the session goes on")

    def summary(self) -> dict[str, Any]:
        """Entries of all sinks."""
        return {key: value for sink in self._open for key, value in sink.summary().items()}
