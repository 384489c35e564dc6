"""Alarms compared with ground truth: false alarms, detected events and detection latency.

An *event* is an interval of abnormal frames. Intervals less than a second apart are one event, so flicker in an
annotation adds no events. An alarm is *false* if no segment between its first and last high segment overlaps an event.
An event is *detected* if a high segment overlaps it. Its *latency* is the time from its first frame to the end of the
first such segment, even if an earlier segment of the same alarm has already raised it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..events.intervals import intervals
from .alarms import Footage, alarm_spans

__all__ = ["EVENT_GAP", "AlarmMetrics", "Events", "match_alarms", "truth_events"]

EVENT_GAP = 1.0  # seconds
_ROUNDING = 1e-6  # frames


def truth_events(labels: np.ndarray, rate: float) -> np.ndarray:
    """Ground-truth events of a video, in order: (E, 2) int64, frames [start, stop).

    Args:
        labels: (frames,) 0 or 1 per frame.
        rate: frames per second.

    >>> truth_events(np.array([0, 1, 1, 0, 1, 0, 0, 0, 1]), rate=2.0).tolist()
    [[1, 5], [8, 9]]
    """
    found = intervals(labels)
    if not len(found):
        return found
    apart = found[1:, 0] - found[:-1, 1] >= EVENT_GAP * rate - _ROUNDING
    return np.stack((found[np.append(True, apart), 0], found[np.append(apart, True), 1]), axis=1)


@dataclass(frozen=True)
class Events:
    """E ground-truth events of footage. Made by :meth:`of`.

    Attributes:
        first, last: (E,) first and last segment that overlaps each event, numbered through all videos.
        starts: (E,) first frame of each event, in seconds from the video's start.
        until: (N + 1,) how many of the first n segments overlap an event.
    """

    first: np.ndarray
    last: np.ndarray
    starts: np.ndarray
    until: np.ndarray

    @classmethod
    def of(cls, footage: Footage, labels: Sequence[np.ndarray]) -> Events:
        """Map the events of each video's labels, (frames,) 0 or 1, to the segments of footage."""
        placed = [np.zeros((0, 2), np.int64)]
        starts = [np.zeros(0)]
        for video, own in enumerate(labels):
            found = truth_events(own, footage.rates[video])
            segments = np.stack((found[:, 0], found[:, 1] - 1), axis=1) // footage.segment_frames[video]
            # frames after the last segment belong to it
            placed.append(np.minimum(footage.bounds[video] + segments, footage.bounds[video + 1] - 1))
            starts.append(found[:, 0] / footage.rates[video])
        first, last = np.concatenate(placed).T
        overlaps = np.zeros(len(footage.scores) + 1, np.int64)
        np.add.at(overlaps, first, 1)
        np.add.at(overlaps, last + 1, -1)
        inside = np.cumsum(overlaps)[:-1] > 0
        return cls(first, last, np.concatenate(starts), np.concatenate(([0], np.cumsum(inside))))


@dataclass(frozen=True)
class AlarmMetrics:
    """Alarm metrics at one threshold.

    Attributes:
        alarms: number of alarms.
        false: number of false alarms.
        latencies: seconds, one per detected event, in order of the events.
        active: total seconds from the start of each alarm's first high segment to the end of its last one.
    """

    alarms: int
    false: int
    latencies: np.ndarray
    active: float


def match_alarms(footage: Footage, events: Events, threshold: float | np.ndarray) -> AlarmMetrics:
    """Compare the alarms at a threshold (one for all, or (V,) one per video) with the events.

    >>> from clap_vad.core.evaluation.alarms import Stream
    >>> day = Footage.of([Stream(np.array([0.9, 0.1, 0.1, 0.1, 0.8]), 10, fps=1.0, segment_frames=2)], hold=1)
    >>> found = match_alarms(day, Events.of(day, [np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])]), 0.5)
    >>> found.alarms, found.false, found.latencies.tolist(), found.active
    (2, 1, [4.0], 4.0)
    """
    first, last = alarm_spans(footage, threshold).T
    false = events.until[last + 1] == events.until[first]
    over = footage.over(threshold)
    place = np.searchsorted(over, events.first)
    within = np.append(over, len(footage.scores))[place]  # first high segment since the event's start
    detected = within <= events.last
    latencies = footage.ends[within[detected]] - events.starts[detected]
    starts = np.where(np.isin(first, footage.bounds), 0.0, footage.ends[first - 1])
    active = float((footage.ends[last] - starts).sum())
    return AlarmMetrics(len(first), int(false.sum()), latencies, active)
