"""Overview of several videos: counts by camera, events over time, and the highest events."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..core.events.detection import Event
from .durations import moment
from .page import Link, Plot, Plots, Section, Table
from .strips import Strip, event_strips

__all__ = ["ONE_CAMERA", "ListedVideo", "cameras_of", "overview_sections"]

ONE_CAMERA = "all videos"
MOST_STRIPS = 24
MOST_EVENTS = 50
_MOST_CAMERAS = 12  # longer tables are collapsed


@dataclass(frozen=True)
class ListedVideo:
    """A scored video in the overview.

    Attributes:
        video, camera: names.
        frames, fps: as in :class:`~clap_vad.core.events.detection.Event`; fps None if unknown.
        highest: highest score.
        events: ordered by time.
        anchor: anchor of its section.
        seconds: duration; None if ``fps`` is None.
    """

    video: str
    camera: str
    frames: int
    fps: float | None
    highest: float
    events: tuple[Event, ...]
    anchor: str
    seconds: float | None


def cameras_of(paths: Sequence[Path], scene: str | None = None) -> list[str]:
    """The camera of each video: its folder if the videos have several folders; otherwise ``scene`` or one name for all.

    Folders of the same name are distinguished by their parent folders.

    >>> cameras_of([Path("in/gate/1.mp4"), Path("in/hall/1.mp4")]), cameras_of([Path("a/1.mp4")], "gate")
    (['gate', 'hall'], ['gate'])
    >>> cameras_of([Path("north/cam1/1.mp4"), Path("south/cam1/1.mp4")])
    ['north/cam1', 'south/cam1']
    """
    folders = [path.absolute().parent for path in paths]
    different = set(folders)
    if len(different) < 2:
        return [scene or ONE_CAMERA for _ in paths]
    if len({folder.name for folder in different}) == len(different) and all(folder.name for folder in different):
        return [folder.name for folder in folders]
    common = Path(os.path.commonpath(different))
    return [str(folder.relative_to(common)) if folder != common else folder.name or "/" for folder in folders]


def overview_sections(videos: Sequence[ListedVideo]) -> list[Section]:
    """Table by camera, plot of all events over time, and table of the highest events; empty for a single video."""
    if len(videos) < 2:
        return []
    several = len({video.camera for video in videos}) > 1
    sections: list[Section] = [_by_camera(videos), _strips(videos, several)]
    if any(video.events for video in videos):
        sections.append(_highest_events(videos, several))
    return sections


def _by_camera(videos: Sequence[ListedVideo]) -> Table:
    cameras = list(dict.fromkeys(video.camera for video in videos))
    groups = [[video for video in videos if video.camera == camera] for camera in cameras]
    order = sorted(range(len(cameras)), key=lambda at: -max(video.highest for video in groups[at]))
    rows = [(cameras[at], *_counts(groups[at])) for at in order]
    if len(rows) > 1:
        rows.append(("all", *_counts(videos)[:-1], ""))
    columns = ("Camera", "Videos", "Hours", "Events", "Events per hour", "Highest score", "Last event")
    timeless = any(video.fps is None for video in videos)
    note = "A dash: hours are unknown, as a video has no known frame rate." if timeless else ""
    strong = len(rows) - 1 if len(rows) > 1 else None
    return Table("By camera", columns, tuple(rows), note, strong=strong, folded=len(cameras) > _MOST_CAMERAS)


def _counts(videos: Sequence[ListedVideo]) -> tuple[str | Link, ...]:
    lengths = [video.seconds for video in videos]
    known = [length for length in lengths if length is not None]
    hours = sum(known) / 3600 if len(known) == len(lengths) else None
    events = sum(len(video.events) for video in videos)
    last = next((video for video in reversed(videos) if video.events), None)
    return (
        f"{len(videos):,}",
        f"{hours:.2f}" if hours is not None and hours >= 1 else f"{hours:.3f}" if hours is not None else "–",
        f"{events:,}",
        f"{events / hours:.1f}" if hours else "–",
        f"{max(video.highest for video in videos):.3f}",
        "none" if last is None else Link(f"{last.video}, {_begin(last, last.events[-1])}", last.anchor),
    )


def _strips(videos: Sequence[ListedVideo], several: bool) -> Plots:
    shown = sorted(videos, key=lambda video: -video.highest)[:MOST_STRIPS]
    seconds = all(video.seconds is not None for video in shown)
    draw = partial(event_strips, [_strip(video, seconds, several) for video in shown], seconds=seconds)
    chosen = f"The {len(shown)} videos with the highest scores of {len(videos):,}" if len(shown) < len(videos) else ""
    note = f"{chosen or 'All videos'}, highest score first. Click a name to go to its video."
    summary = "; ".join(f"{video.video}: {_summary(video)}" for video in shown)
    description = f"Events of {len(shown)} videos over time. {summary}."
    return Plots("Events over time", (Plot(draw, description, name="overview"),), note)


def _strip(video: ListedVideo, seconds: bool, several: bool) -> Strip:
    highest = max(video.events, key=lambda event: event.peak_score, default=None)

    def at(event: Event, name: str) -> float:
        return float(getattr(event, f"{name}_seconds" if seconds else f"{name}_frame"))

    return Strip(
        f"{video.camera}: {video.video}" if several else video.video,
        f"{len(video.events)} · {video.highest:.3f}",
        float(video.seconds if seconds and video.seconds is not None else video.frames),
        tuple((at(event, "start"), at(event, "stop")) for event in video.events),
        None if highest is None else at(highest, "peak"),
        video.anchor,
    )


def _summary(video: ListedVideo) -> str:
    count = len(video.events)
    first = f", the first at {_begin(video, video.events[0])}" if count else ""
    return f"{count or 'no'} event{'' if count == 1 else 's'}{first}"


def _begin(video: ListedVideo, event: Event) -> str:
    return moment(event.start_frame, video.fps, event.start_seconds)


def _highest_events(videos: Sequence[ListedVideo], several: bool) -> Table:
    every = [(event, number, video) for video in videos for number, event in enumerate(video.events, 1)]
    every.sort(key=lambda found: -found[0].peak_score)
    shown = every[:MOST_EVENTS]
    rows = []
    for event, number, video in shown:
        moments = (
            moment(event.start_frame, video.fps, event.start_seconds),
            moment(event.stop_frame, video.fps, event.stop_seconds),
            moment(event.peak_frame, video.fps, event.peak_seconds),
        )
        row: list[str | Link] = [Link(f"{video.video}, event {number}", video.anchor)]
        row += [video.camera] if several else []
        row += [*moments, f"{event.peak_score:.3f}"]
        rows.append(tuple(row))
    columns = ("Event", *(["Camera"] if several else []), "Start", "End", "Peak at", "Peak score")
    rest = len(every) - len(shown)
    note = f"The {len(shown)} highest of {len(every):,}; {rest:,} more are listed with their videos." if rest else ""
    return Table("All events, highest first" if not rest else "The highest events", columns, tuple(rows), note)
