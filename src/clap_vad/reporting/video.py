"""The report section of one scored video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ..core.events.detection import Event
from ..core.events.timing import FrameTimes
from .durations import clock, moment
from .page import Picture, Plot, Table, Video
from .plots import score_curve

__all__ = ["MOST_PICTURES", "pictured", "video_section"]

MOST_PICTURES = 12


def video_section(
    title: str,
    scores: np.ndarray,
    *,
    frames: int,
    fps: float | None,
    segment_frames: int,
    threshold: float,
    events: Sequence[Event],
    truth: np.ndarray | None = None,
    pictures: Mapping[int, bytes] | None = None,
    remarks: Sequence[str] = (),
    times: FrameTimes | None = None,
) -> Video:
    """Score curve, events and pictures of one video.

    Args:
        title: name of the video.
        scores: (T,) segment scores.
        frames, fps, segment_frames: as in the feature store; fps None if unknown.
        threshold: threshold of the events.
        events: ordered by time.
        truth: (frames,) uint8 frame labels, shaded; optional.
        pictures: peak frame -> JPEG, for the events of :func:`pictured`; None if pictures are not wanted.
        remarks: sentences to print under the title.
        times: times of the frames; None if they follow from ``fps``.
    """
    highest = float(scores.max()) if len(scores) else 0.0
    seconds = times.seconds if times is not None else frames / fps if fps else None
    length = f"{frames:,} frames" if seconds is None else f"{clock(seconds)} long, {frames:,} frames"
    count = f"{len(events)} event{'' if len(events) == 1 else 's'}" if events else "no event"
    facts = ". ".join((f"{length}, {count}, highest score {highest:.3f}", *(r.rstrip(".") for r in remarks))) + "."
    spans = [(event.start_frame, event.stop_frame) for event in events]
    draw = partial(
        score_curve,
        scores,
        frames=frames,
        fps=fps,
        segment_frames=segment_frames,
        threshold=threshold,
        events=spans,
        truth=truth,
        times=times,
    )
    shown = pictured(events)
    found = [
        _picture(pictures[event.peak_frame], title, event, fps)
        for event in shown
        if pictures is not None and event.peak_frame in pictures
    ]
    note = f"The {len(shown)} highest peaks of {len(events)}." if found and len(shown) < len(events) else ""
    if pictures is not None and events and not found:
        note = "No pictures: no picture of this input could be decoded."
    description = f"Scores of {title} over time, {count}, highest score {highest:.3f}, threshold {threshold:.3f}"
    return Video(title, facts, Plot(draw, description, name=f"scores-{title}"), _table(events, fps), tuple(found), note)


def pictured(events: Sequence[Event]) -> list[Event]:
    """The events that get a picture: the twelve highest peaks, ordered by time."""
    highest = sorted(events, key=lambda event: (-event.peak_score, event.start_frame))[:MOST_PICTURES]
    return sorted(highest, key=lambda event: event.start_frame)


def _picture(jpeg: bytes, title: str, event: Event, fps: float | None) -> Picture:
    when = moment(event.peak_frame, fps, event.peak_seconds)
    outlined = ", the most anomalous region is outlined" if event.region is not None else ""
    return Picture(jpeg, f"{when}, score {event.peak_score:.3f}", f"Picture of {title} at {when}{outlined}")


def _table(events: Sequence[Event], fps: float | None) -> Table | None:
    if not events:
        return None
    columns = ("Event", "Start", "End", "Length", "Peak at", "Peak score")
    rows = []
    for number, event in enumerate(events, 1):
        length = event.stop_frame - event.start_frame
        seconds = length / fps if fps else 0.0
        if event.start_seconds is not None and event.stop_seconds is not None:
            seconds = event.stop_seconds - event.start_seconds
        rows.append(
            (
                str(number),
                moment(event.start_frame, fps, event.start_seconds),
                moment(event.stop_frame, fps, event.stop_seconds),
                f"{seconds:.1f} s" if fps else f"{length} frames",
                moment(event.peak_frame, fps, event.peak_seconds),
                f"{event.peak_score:.3f}",
            )
        )
    return Table("Events", columns, tuple(rows))
