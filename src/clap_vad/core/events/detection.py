"""Events: intervals of a video whose segment scores stay high."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...errors import ClapError
from .intervals import intervals
from .policy import EventPolicy
from .regions import Region
from .timing import FrameTimes

__all__ = ["ASSUMED_FPS", "DEFAULT_QUANTILE", "Event", "find_events"]

DEFAULT_QUANTILE = 0.99  # threshold: this quantile of the scores of the unlabelled training segments
ASSUMED_FPS = 25.0
_LONGEST_HOLE = 600.0  # seconds without a frame; after a longer hole a new event begins
_ROUNDING = 1e-7  # seconds; 0.1 s at 30 fps is three frames, although 0.1 * 30 exceeds 3 in floating point


@dataclass(frozen=True)
class Event:
    """One interval of high scores.

    Attributes:
        start_frame, stop_frame: frames [start_frame, stop_frame).
        peak_frame: middle frame of the highest-scoring segment (the first one on ties).
        peak_score: score of that segment.
        start_seconds, stop_seconds, peak_seconds: the same in seconds from the video's start; None if the frame rate
            is unknown.
        region: region of the peak in the picture; None if the features have no positions.
    """

    start_frame: int
    stop_frame: int
    peak_frame: int
    peak_score: float
    start_seconds: float | None = None
    stop_seconds: float | None = None
    peak_seconds: float | None = None
    region: Region | None = None


def find_events(
    scores: np.ndarray,
    policy: EventPolicy,
    *,
    frames: int,
    fps: float | None,
    segment_frames: int = 16,
    times: FrameTimes | None = None,
) -> list[Event]:
    """Events of one video, in order of time.

    A segment is high if ``score >= threshold``. Neighbouring high segments form an event; a hole of more than ten
    minutes without a frame splits it. Events at most ``max_gap`` seconds apart are merged; then events shorter than
    ``min_length`` seconds are dropped. Segment t covers frames [t * segment_frames, (t + 1) * segment_frames); the last
    segment extends to the end of the video.

    Args:
        scores: segment scores s[t], shape (T,), finite.
        policy: its threshold, gap and least length.
        frames: number of frames of the video; more than (T - 1) * segment_frames, 0 if T is 0.
        fps: frames per second; if None, ``max_gap`` and ``min_length`` assume 25 and the events have no seconds.
        times: times of the frames, if they are not given by ``fps`` alone.
        segment_frames: frames per segment.

    Raises:
        ClapError: scores not finite or not one-dimensional, frames that do not match, a rate out of range.

    >>> policy = EventPolicy(threshold=0.5)
    >>> found = find_events(np.array([0.1, 0.9, 0.2, 0.8, 0.1]), policy, frames=80, fps=16.0)
    >>> [(event.start_seconds, event.stop_seconds, event.peak_score) for event in found]
    [(1.0, 4.0, 0.9)]
    """
    scores = np.asarray(scores, dtype=np.float64)
    _check(scores, frames, fps, segment_frames)
    shown = times or FrameTimes.even(frames, ASSUMED_FPS if fps is None else fps)
    first, end = intervals(scores >= policy.threshold).T
    # an event that reaches the last segment lasts to the end of the video
    spans = np.stack((first * segment_frames, np.where(end == len(scores), frames, end * segment_frames)), axis=1)
    starts, stops = _parted(spans, shown.holes(max(policy.max_gap, _LONGEST_HOLE)))
    begins, ends = shown.start(starts), shown.stop(stops)
    if len(starts):
        apart = begins[1:] - ends[:-1] > policy.max_gap + _ROUNDING
        first_ones, last_ones = np.concatenate(([True], apart)), np.concatenate((apart, [True]))
        starts, begins, stops, ends = starts[first_ones], begins[first_ones], stops[last_ones], ends[last_ones]
    kept = ends - begins >= policy.min_length - _ROUNDING
    timed = times is not None or fps is not None
    return [
        _event(scores, int(start), int(stop), frames, shown if timed else None, segment_frames)
        for start, stop in zip(starts[kept], stops[kept], strict=True)
    ]


def _parted(spans: np.ndarray, holes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of frame intervals (n, 2), split before each frame in ``holes`` that lies within one."""
    if not len(spans):
        return spans[:, 0], spans[:, 1]
    inside = np.searchsorted(spans[:, 0], holes, side="left") - 1
    cuts = holes[(inside >= 0) & (holes < spans[np.maximum(inside, 0), 1])]
    return np.sort(np.append(spans[:, 0], cuts)), np.sort(np.append(spans[:, 1], cuts))


def _event(
    scores: np.ndarray, start: int, stop: int, frames: int, times: FrameTimes | None, segment_frames: int
) -> Event:
    first = start // segment_frames
    peak = first + int(np.argmax(scores[first : math.ceil(stop / segment_frames)]))
    middle = (max(peak * segment_frames, start) + min((peak + 1) * segment_frames, frames, stop)) // 2
    if times is None:
        return Event(start, stop, middle, float(scores[peak]))
    seconds = float(times.start(start)), float(times.stop(stop)), float(times.start(middle))
    return Event(start, stop, middle, float(scores[peak]), *seconds)


def _check(scores: np.ndarray, frames: int, fps: float | None, segment_frames: int) -> None:
    if scores.ndim != 1:
        raise ClapError(f"scores: shape {scores.shape}; give one score per segment, shape (T,)")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ClapError(f"scores: segment {bad[0]}: not a finite number; check the model and the features")
    if segment_frames < 1:
        raise ClapError(f"segment_frames: {segment_frames}; give at least 1")
    if frames < 0 or frames <= (len(scores) - 1) * segment_frames or (frames > 0 and not len(scores)):
        raise ClapError(f"scores: {len(scores)} segments of {segment_frames} frames do not fit {frames} frames")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise ClapError(f"fps: {fps}; give a positive number, or None if it is unknown")
