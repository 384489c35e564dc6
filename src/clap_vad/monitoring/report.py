"""The report page of monitored cameras: timeline, events and pictures of each, from the event store."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..reporting.durations import clock as file_clock
from ..reporting.durations import duration
from ..reporting.page import Link, Picture, Plot, Section, Stat, Stats, Table, Text, Video, write_page
from ..reporting.thumbnails import thumbnail_at
from ..video.recorder import START
from .store.damage import set_aside_files
from .store.summary import CameraSummary, OutageRow, StoredEvent, read_summary

__all__ = ["ClipPictures", "write_monitoring_report"]

_LISTED = 50
_PICTURED = 12
_NEWEST = 7 * 86400.0
_FOOTER = (
    "This page is self-contained: it loads nothing from any network. It holds pictures from the videos; share it "
    "only where the videos may be shared."
)


class ClipPictures:
    """Pictures of the peaks of events, from their clips; cached while they are on the page.

    Args:
        folder: of the session.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, bytes] = {}
        self._used: dict[str, bytes] = {}

    def of(self, event: StoredEvent) -> bytes | None:
        """The JPEG of an ended event with a clip."""
        if event.clip is None or event.state == "open":
            return None
        jpeg = self._kept.get(event.clip) or thumbnail_at(self._folder / event.clip, event.peak, START, event.region)
        if jpeg is not None:
            self._used[event.clip] = jpeg
        return jpeg

    def forget_others(self) -> None:
        """Keep only those asked for since the last call."""
        self._kept, self._used = self._used, {}


def write_monitoring_report(database: Path, page: Path, pictures: ClipPictures | None = None) -> list[Section]:
    """Write the page of all cameras in an event store, the last seven days of each.

    Args:
        database: see ``docs/watch.md``.
        page: HTML file.
        pictures: cache between calls, so that each clip is read once; None reads all.

    Returns:
        What is on it.

    Raises:
        ClapError: no event store.
    """
    cameras = read_summary(database, newest=_NEWEST)
    shown = pictures or ClipPictures(database.parent)
    sections: list[Section] = [_headline(cameras)]
    if aside := set_aside_files(database):
        sections.append(_damaged(aside))
    if len(cameras) > 1:
        sections.append(_overview(cameras))
    for number, camera in enumerate(cameras, 1):
        sections += _camera(camera, f"camera-{number}", shown)
    shown.forget_others()
    write_page(page, "Watched cameras", _subtitle(cameras), sections, _FOOTER)
    return sections


def _headline(cameras: Sequence[CameraSummary]) -> Stats:
    seen = sum(camera.seconds for camera in cameras)
    events = sum(camera.events for camera in cameras)
    lost = sum(_length(outage, camera) for camera in cameras for outage in camera.outages)
    slowest = max((camera.latency_max for camera in cameras if camera.latency_max is not None), default=None)
    mean = [camera.latency_mean for camera in cameras if camera.latency_mean is not None]
    return Stats(
        "So far",
        (
            Stat("Events", str(events), f"{_an_hour(events, seen)} an hour"),
            Stat("Seen", duration(seen), f"{len(cameras)} camera{'s' * (len(cameras) != 1)}"),
            Stat("No picture", duration(lost), _count(sum(len(camera.outages) for camera in cameras), "outage")),
            Stat(
                "Frame to score",
                f"{1000 * sum(mean) / len(mean):.0f} ms" if mean else "-",
                f"{1000 * slowest:.0f} ms at most" if slowest is not None else "",
            ),
        ),
    )


def _damaged(files: Sequence[Path]) -> Text:
    names = ", ".join(file.name for file in files)
    text = f"The database was damaged and set aside as {names}. This page shows the rows that could be read."
    return Text("Damaged database", (text,))


def _overview(cameras: Sequence[CameraSummary]) -> Table:
    columns = ("Camera", "Seen", "Events", "Events an hour", "Highest score", "Last event", "Outages", "State")
    rows: list[tuple[str | Link, ...]] = []
    for number, camera in enumerate(cameras, 1):
        highest = max((event.score for event in camera.newest), default=None)
        rows.append(
            (
                Link(camera.camera, f"camera-{number}") if camera.seconds else camera.camera,
                duration(camera.seconds),
                str(camera.events),
                _an_hour(camera.events, camera.seconds),
                "-" if highest is None else f"{highest:.3f}",
                _moment(camera.newest[0].start, camera) if camera.newest else "-",
                str(len(camera.outages)),
                camera.reason or "watched",
            )
        )
    return Table("Cameras", columns, tuple(rows), prose=True)


def _camera(camera: CameraSummary, anchor: str, clips: ClipPictures) -> list[Section]:
    from ..reporting.timeline import camera_timeline  # matplotlib

    wall = camera.clock == "wall"
    if not camera.seconds:
        return [Text(camera.camera, (f"Nothing seen yet of {camera.source}.", *_outages(camera)))]
    draw = partial(
        camera_timeline,
        camera.bins,
        camera.max_score,
        threshold=camera.threshold,
        events=[(event.start, event.stop) for event in camera.newest],
        outages=[(outage.start, outage.start + _length(outage, camera)) for outage in camera.outages],
        wall=wall,
    )
    facts = [
        camera.source,
        f"{_moment(camera.start, camera)} to {_moment(camera.stop, camera)}",
        f"{duration(camera.seconds)} seen",
        f"{camera.frames:,} frames, {camera.dropped_frames:,} dropped",
        *_outages(camera),
        camera.reason or "watched until now",
    ]
    shown = sorted(camera.newest, key=lambda event: -event.score)[:_PICTURED]
    pictures = []
    for event in sorted(shown, key=lambda event: event.start):
        jpeg = clips.of(event)
        if jpeg is not None:
            where = ", its region outlined" if event.region is not None else ""
            caption = f"{camera.camera} at the peak of an event{where}"
            pictures.append(Picture(jpeg, f"{_moment(event.peak, camera)}, score {event.score:.3f}", caption))
    description = f"Highest score of {camera.camera} over time, {_count(camera.events, 'event')}"
    plot, text = Plot(draw, description), ". ".join(facts) + "."
    return [Video(camera.camera, text, plot, _events(camera), tuple(pictures), anchor=anchor)]


def _events(camera: CameraSummary) -> Table | None:
    if not camera.newest:
        return None
    rows = tuple(
        (
            _moment(event.start, camera),
            f"{event.stop - event.start:.1f} s",
            _moment(event.peak, camera),
            f"{event.score:.3f}",
            event.state,
            event.clip or "-",
        )
        for event in camera.newest[:_LISTED]
    )
    note = f"The newest {_LISTED} of {camera.events}." if camera.events > _LISTED else ""
    return Table("Events", ("Start", "Length", "Peak at", "Peak score", "State", "Clip"), rows, note, prose=True)


def _outages(camera: CameraSummary) -> list[str]:
    if not camera.outages:
        return []
    newest = camera.outages[0]
    lasted = "still going on" if newest.stop is None else duration(_length(newest, camera))
    count, when = _count(len(camera.outages), "outage"), _moment(newest.start, camera)
    return [f"{count}, the last at {when}, {lasted}: {newest.reason}"]


def _length(outage: OutageRow, camera: CameraSummary) -> float:
    return max(0.0, (outage.stop if outage.stop is not None else max(camera.seen, outage.start)) - outage.start)


def _moment(seconds: float, camera: CameraSummary) -> str:
    if camera.clock == "file":
        return file_clock(seconds)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _subtitle(cameras: Sequence[CameraSummary]) -> str:
    written = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    count = _count(len(cameras), "camera")
    return f"{count}, the last seven days of each; written {written}. All times are UTC, or those of a file."


def _an_hour(events: int, seconds: float) -> str:
    rate = 3600 * events / seconds if seconds else 0.0
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
