"""Alarm metrics of a detector on a dataset's test videos: false alarms, detected events, latency.

Results are reported for all test videos together (*pooled*) and per scene. A *curve* varies the threshold; if every
scene has its own, all are moved by the same step in the logit. To read the curve at a rate of false alarms per hour,
the threshold is lowered from above every score until the next point would exceed the rate. There is no interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.evaluation.alarm_truth import Events, match_alarms
from ..core.evaluation.alarms import Footage, Stream
from ..core.statistics.histogram import logit
from ..datasets.dataset import Dataset
from ..errors import ClapError
from .counts import frame_truth, read_scores

__all__ = ["RATES", "Threshold", "evaluate_alarms"]

RATES = (1, 2, 5, 10)
"""False alarms per hour at which curves are read."""

Threshold = float | Mapping[str, float]
"""One for all videos, or one per scene."""

_POINTS = 400  # of a curve: every score at the top, where false alarms are few, then growing steps
_ROUNDING = 1e-9


@dataclass(frozen=True)
class _Video:
    """A test video with ground truth: scene, segments covered by the truth, labels per frame."""

    scene: str
    stream: Stream
    labels: np.ndarray


def evaluate_alarms(
    dataset: Dataset, scores: Mapping[str, np.ndarray], threshold: Threshold, origin: str = "scores"
) -> dict[str, Any]:
    """Alarms of one detector.

    Segments beyond a video's ground truth are dropped; if the ground truth is longer, the last segment is extended.

    Args:
        dataset: provides test videos and frame truth; videos without truth are excluded and listed by name.
        scores: video -> (T,) one finite score per segment, computed from this and earlier segments only.
        threshold: one for all, or scene -> threshold for every scene with test videos ('' for videos without a scene).
        origin: source of the scores, for error messages.

    Returns:
        A JSON-able dict of the pooled result, ``per_scene`` {scene: the same} and ``videos_without_truth`` by name. A
        result has ``videos``, ``hours``, ``alarms``, ``false_alarms``, ``false_alarms_per_hour``, ``events``,
        ``detected``, ``recall``, ``latency_median`` and ``latency_p90`` in seconds over the detected events,
        ``active_share`` (share of the time between the first and last high segment of alarms), ``at``
        {rate: the curve's point} and the ``curve`` {threshold, false_alarms_per_hour, recall, latency_median,
        active_share}, lists from the highest threshold down. If every scene has its own threshold, the pooled result
        has ``step`` instead of ``threshold``. Values that the ground truth does not define are None.

    Raises:
        ClapError: scores that do not match the dataset, a scene without a threshold, no test video with truth.
    """
    videos, without_truth = _videos(dataset, scores, origin)
    if not videos:
        raise ClapError(f"{dataset.path}: no test video has frame truth, which alarm metrics need; add frame labels")
    scenes = sorted({video.scene for video in videos})
    own = threshold if isinstance(threshold, Mapping) else dict.fromkeys(scenes, threshold)
    if missing := [scene for scene in scenes if scene not in own]:
        raise ClapError(f"no threshold for scene '{missing[0]}'; give one for every scene of the test videos")
    parts = {scene: [video for video in videos if video.scene == scene] for scene in scenes if scene}
    return {
        **_result(videos, own),
        "per_scene": {scene: _result(part, {scene: own[scene]}) for scene, part in parts.items()},
        "videos_without_truth": without_truth,
    }


def _videos(dataset: Dataset, scores: Mapping[str, np.ndarray], origin: str) -> tuple[list[_Video], list[str]]:
    videos, without_truth = [], []
    for video in dataset.test_videos:
        store, entry = dataset.locate(video)
        labels = frame_truth(dataset, video, entry.frames)
        if labels is None or not len(labels):
            without_truth.append(video)
            continue
        found = read_scores(scores, video, entry.segments, origin)
        stream = Stream(found[: -(-len(labels) // store.segment_frames)], len(labels), entry.fps, store.segment_frames)
        videos.append(_Video(dataset.videos[video].scene, stream, labels))
    return videos, without_truth


def _result(videos: Sequence[_Video], thresholds: Mapping[str, float]) -> dict[str, Any]:
    """The result of some videos; ``thresholds`` may contain further scenes."""
    footage = Footage.of([video.stream for video in videos])
    events = Events.of(footage, [video.labels for video in videos])
    limits = np.array([thresholds[video.scene] for video in videos])
    found = match_alarms(footage, events, limits)
    hours, total = footage.hours, len(events.first)
    curve = _curve(footage, events, limits)
    return {
        "videos": len(videos),
        "hours": hours,
        "alarms": found.alarms,
        "false_alarms": found.false,
        "false_alarms_per_hour": found.false / hours,
        "events": total,
        "detected": len(found.latencies),
        "recall": len(found.latencies) / total if total else None,
        "latency_median": _quantile(found.latencies, 0.5),
        "latency_p90": _quantile(found.latencies, 0.9),
        "active_share": found.active / (3600 * hours),
        "at": {str(rate): _reading(curve, rate) for rate in RATES},
        "curve": curve,
    }


def _curve(footage: Footage, events: Events, limits: np.ndarray) -> dict[str, list[Any]]:
    """The curve of :func:`evaluate_alarms`."""
    shared = bool((limits == limits[0]).all())
    if not shared:  # one step then moves the thresholds of all scenes
        footage = replace(footage, scores=logit(footage.scores) - logit(limits)[footage.videos])
    levels = np.unique(footage.scores)[::-1]
    places = np.unique(np.geomspace(1, len(levels), _POINTS).astype(np.int64)) - 1
    points = levels[places]
    found = [match_alarms(footage, events, point) for point in points.tolist()]
    total = len(events.first)
    return {
        "threshold" if shared else "step": points.tolist(),
        "false_alarms_per_hour": [one.false / footage.hours for one in found],
        "recall": [len(one.latencies) / total if total else None for one in found],
        "latency_median": [_quantile(one.latencies, 0.5) for one in found],
        "active_share": [one.active / (3600 * footage.hours) for one in found],
    }


def _reading(curve: Mapping[str, Sequence[Any]], rate: float) -> dict[str, Any]:
    """The last point of a curve before false alarms exceed a rate; if there is none, the result without any alarm."""
    over = np.flatnonzero(np.array(curve["false_alarms_per_hour"]) > rate + _ROUNDING)
    place = (int(over[0]) if len(over) else len(curve["recall"])) - 1
    if place < 0:
        nothing = None if curve["recall"][0] is None else 0.0
        return dict.fromkeys(curve) | {"false_alarms_per_hour": 0.0, "recall": nothing, "active_share": 0.0}
    return {key: values[place] for key, values in curve.items()}


def _quantile(latencies: np.ndarray, q: float) -> float | None:
    return float(np.quantile(latencies, q)) if len(latencies) else None
