"""What was found in several videos, before each is shown: by camera, along time, and the highest events first."""

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
_MOST_CAMERAS = 12  # a longer table is closed until it is opened


@dataclass(frozen=True)
class ListedVideo:
    """A scored video as the overview counts it.

    Attributes:
        video, camera: names.
        frames, fps: as in :class:`~clap_vad.core.events.detection.Event`; fps None where unknown.
        highest: score.
        events: in order of time.
        anchor: of its section.
        seconds: how long it lasts; None where ``fps`` is.
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
    """The camera of each video: its folder, where videos come from several; else ``scene``, or one name for all.

    Folders of one name are told apart by what leads to them.

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
    """Table by camera, a picture of all events along time, and a table of the highest; nothing for a single video."""
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
    note = "A dash: the frame rate of a video is unknown, so there are no hours." if timeless else ""
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
    chosen = f"The {len(shown)} with the highest scores of {len(videos):,} videos" if len(shown) < len(videos) else ""
    note = f"{chosen or 'All videos'}, highest score first. A name leads to its video."
    told = "; ".join(f"{video.video}: {_told(video)}" for video in shown)
    return Plots(
        "Events over time", (Plot(draw, f"Events of {len(shown)} videos along time. {told}.", name="overview"),), note
    )


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


def _told(video: ListedVideo) -> str:
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
    note = f"The {len(shown)} highest of {len(every):,}; the other {rest:,} stand at their videos." if rest else ""
    return Table("All events, highest first" if not rest else "The highest events", columns, tuple(rows), note)
