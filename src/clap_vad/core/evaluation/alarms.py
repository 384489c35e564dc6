"""Alarms: when they are raised, and the threshold that caps the alarm rate.

The rule is causal. A segment is *high* if ``score >= threshold``. An alarm is raised at the end of the first high
segment while no alarm is active. It stays active until more than ``hold`` seconds pass without a high segment, so high
segments at most ``hold`` seconds apart belong to one alarm. Every video starts without an alarm.

Alarms at many thresholds are counted at once: segment t raises an alarm at every threshold in ``(before[t], s[t]]``,
where ``before[t]`` is the highest score during the hold before it. Hundreds of thresholds cost two sorts.

The number of alarms is not monotonic in the threshold: when nearly every segment is high, alarms merge, and a threshold
of 0 raises one endless alarm per video. A threshold therefore *keeps* a rate only if it and every higher threshold
raise no more alarms than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..events.detection import ASSUMED_FPS
from ..events.policy import EventPolicy, check_seconds
from ..statistics.histogram import BINS, bin_edges
from .frames import frames_per_segment

__all__ = [
    "Footage",
    "Stream",
    "alarm_histogram",
    "alarm_spans",
    "count_alarms",
    "threshold_for_rate",
    "threshold_from_histogram",
]

_ROUNDING = 1e-6  # frames, or alarms: 0.1 s at 30 fps is three frames, although 0.1 * 30 exceeds 3 in floating point


class Stream(NamedTuple):
    """Scores and timing of one video.

    Attributes:
        scores: s[t] of its segments, shape (T,), T at least 1, finite.
        frames: number of frames; :func:`~clap_vad.core.evaluation.frames.frames_per_segment` assigns them to segments.
        fps: frames per second; None means 25.
        segment_frames: frames per segment.
    """

    scores: np.ndarray
    frames: int
    fps: float | None
    segment_frames: int = 16


@dataclass(frozen=True)
class Footage:
    """V concatenated videos with N segments in all. Made by :meth:`of`.

    Attributes:
        scores: (N,) float64.
        videos: (N,) index of each segment's video, 0..V - 1.
        ends: (N,) seconds from the video's start to the segment's end.
        bounds: (V + 1,) first segment of each video, then N.
        reach: (V,) largest distance, in segments, between two successive high segments of the same alarm.
        seconds: (V,) length.
        rates: (V,) frames per second.
        segment_frames: (V,) frames per segment.
    """

    scores: np.ndarray
    videos: np.ndarray
    ends: np.ndarray
    bounds: np.ndarray
    reach: np.ndarray
    seconds: np.ndarray
    rates: np.ndarray
    segment_frames: np.ndarray

    @classmethod
    def of(cls, streams: Sequence[Stream], hold: float = EventPolicy.hold) -> Footage:
        """Concatenate videos.

        Args:
            streams: the videos.
            hold: seconds, not negative, see :class:`~clap_vad.core.events.policy.EventPolicy`.

        Raises:
            ValueError: scores not finite or not one-dimensional, no segment, or a number out of range.
            ClapError: a hold out of range.

        >>> Footage.of([Stream(np.zeros(3), 40, 10.0), Stream(np.zeros(1), 16, None)]).ends
        array([1.6 , 3.2 , 4.  , 0.64])
        """
        check_seconds("hold", hold)
        for stream in streams:
            _check(stream)
        rates = np.array([ASSUMED_FPS if stream.fps is None else stream.fps for stream in streams], np.float64)
        lengths = np.array([len(stream.scores) for stream in streams], np.int64)
        each = np.array([stream.segment_frames for stream in streams], np.int64)
        ends = [
            np.cumsum(frames_per_segment(len(stream.scores), stream.frames, stream.segment_frames)) / rate
            for stream, rate in zip(streams, rates, strict=True)
        ]
        return cls(
            scores=_joined([stream.scores for stream in streams]),
            videos=np.repeat(np.arange(len(streams)), lengths),
            ends=_joined(ends),
            bounds=np.concatenate(([0], np.cumsum(lengths))),
            reach=np.floor((hold * rates + _ROUNDING) / each).astype(np.int64) + 1,
            seconds=np.array([stream.frames for stream in streams], np.float64) / rates,
            rates=rates,
            segment_frames=each,
        )

    @property
    def hours(self) -> float:
        """Camera-hours of all videos."""
        return float(self.seconds.sum()) / 3600

    def over(self, threshold: float | np.ndarray) -> np.ndarray:
        """Ascending indices of the segments at or above a threshold (one for all, or (V,) one per video)."""
        limit = np.asarray(threshold, np.float64)
        return np.flatnonzero(self.scores >= (limit[self.videos] if limit.ndim else limit))


def alarm_spans(footage: Footage, threshold: float | np.ndarray) -> np.ndarray:
    """The alarms at a threshold, in order: (k, 2) int64, first and last high segment of each.

    An alarm is raised at ``footage.ends`` of its first segment.

    Args:
        footage: the videos; segments are numbered through all of them.
        threshold: one for all, or (V,) one per video.

    >>> day = Footage.of([Stream(np.array([0.1, 0.9, 0.2, 0.8, 0.1, 0.1, 0.7]), 7, fps=1.0, segment_frames=1)], hold=1)
    >>> alarm_spans(day, 0.5).tolist()
    [[1, 3], [6, 6]]
    """
    over = footage.over(threshold)
    video = footage.videos[over]
    apart = (video[1:] != video[:-1]) | (np.diff(over) > footage.reach[video[1:]])
    if not len(over):
        return np.zeros((0, 2), np.int64)
    return np.stack((over[np.append(True, apart)], over[np.append(apart, True)]), axis=1)


def count_alarms(footage: Footage, thresholds: np.ndarray) -> np.ndarray:
    """Number of alarms at each threshold: (K,) int64.

    Args:
        footage: the videos.
        thresholds: (K,), ascending.

    >>> day = Footage.of([Stream(np.array([0.1, 0.9, 0.2, 0.8, 0.1, 0.1, 0.7]), 7, fps=1.0, segment_frames=1)], hold=1)
    >>> count_alarms(day, np.array([0.0, 0.5, 0.75, 0.95]))
    array([1, 2, 1, 0])
    """
    before, own = _raising(footage)
    # segments with s[t] >= threshold, minus those whose alarm was already active
    return np.searchsorted(np.sort(before), thresholds) - np.searchsorted(np.sort(own), thresholds)


def threshold_for_rate(footage: Footage, rate: float) -> float:
    """The smallest threshold that keeps a rate of alarms on unlabelled videos.

    Args:
        footage: unlabelled (training) videos, at least one.
        rate: alarms per camera-hour, not negative; alarms on real anomalies count too.

    Returns:
        The smallest threshold at which, as at every higher one, there are at most ``rate * footage.hours`` alarms. It
        lies just above the highest score if the rate allows no alarm in these videos. It is the lowest score if no
        threshold exceeds the rate.

    >>> day = Footage.of([Stream(np.array([0.1, 0.9, 0.1, 0.1, 0.7]), 5, fps=1.0, segment_frames=1)], hold=1)
    >>> round(threshold_for_rate(day, rate=3600 / 5), 6)  # one alarm in five seconds: above 0.7
    0.7
    """
    before, own = _raising(footage)
    # the count changes only at these scores: it is constant from just above one up to the next
    levels = np.unique(np.concatenate((before[np.isfinite(before)], own)))
    over = np.flatnonzero(count_alarms(footage, levels) > _allowed(3600 * footage.hours, rate))
    if not len(over):
        return float(footage.scores.min())
    return _just_above(levels[over[-1]])


def alarm_histogram(footage: Footage) -> np.ndarray:
    """Number of alarms at the lower edge of each fixed score bin. Sites add these up to find a common threshold.

    Args:
        footage: a site's videos, scores in [0, 1].

    Returns:
        (BINS,) int64; the sum over sites is the histogram of all their videos.
    """
    return count_alarms(footage, bin_edges()[:-1])


def threshold_from_histogram(counts: np.ndarray, seconds: float, rate: float) -> float:
    """:func:`threshold_for_rate` from summed histograms: the lowest bin edge that keeps the rate.

    Args:
        counts: (BINS,) sum of :func:`alarm_histogram` over sites.
        seconds: length of all their videos.
        rate: alarms per camera-hour, not negative.

    Returns:
        A score; just above 1, which no score reaches, if even the highest bin holds too many alarms.
    """
    over = np.flatnonzero(counts > _allowed(seconds, rate))
    place = int(over[-1]) + 1 if len(over) else 0
    return float(bin_edges()[place]) if place < BINS else _just_above(1.0)


def _raising(footage: Footage) -> tuple[np.ndarray, np.ndarray]:
    """``(before, s)`` of segments that raise an alarm at some threshold; ``before`` is -inf if the hold is empty."""
    before = np.empty(len(footage.scores))
    for start, stop, reach in zip(footage.bounds[:-1], footage.bounds[1:], footage.reach, strict=True):
        width = min(int(reach), int(stop - start))
        padded = np.concatenate((np.full(width, -np.inf), footage.scores[start : stop - 1]))
        before[start:stop] = np.lib.stride_tricks.sliding_window_view(padded, width).max(axis=1)
    raises = footage.scores > before
    return before[raises], footage.scores[raises]


def _just_above(score: float) -> float:
    """The next float32 number: scores are float32, so it stays above when compared in single precision."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))


def _allowed(seconds: float, rate: float) -> float:
    if not (np.isfinite(rate) and rate >= 0):
        raise ValueError(f"rate: {rate}; give a number of alarms per hour, 0 or more")
    return rate * seconds / 3600 + _ROUNDING


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])  # float64, also if there are no parts


def _check(stream: Stream) -> None:
    scores = np.asarray(stream.scores)
    if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
        raise ValueError(f"scores {scores.shape}: give one finite score per segment, at least one")
    if stream.frames < 1 or stream.segment_frames < 1:
        raise ValueError(f"{stream.frames} frames, {stream.segment_frames} frames per segment: out of range")
    if stream.fps is not None and not (np.isfinite(stream.fps) and stream.fps > 0):
        raise ValueError(f"fps: {stream.fps}; give a positive number, or None if it is unknown")
