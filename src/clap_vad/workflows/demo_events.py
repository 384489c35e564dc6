"""Events of the demo's videos, from the features that the demo has extracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ..core.events.detection import Event, find_events
from ..core.events.policy import EventPolicy
from ..detector.model import Model
from ..detector.personalised import PersonalisedModels
from ..detector.threads import fixed_threads
from ..features.store.reader import FeatureStore, VideoIndex
from ..features.store.streaming import blocks
from ..progress import progress_bar
from .demo_videos import DemoVideo
from .scoring import Locator, choose_threshold, stored_regions, with_regions

__all__ = ["VideoEvents", "find_all_events"]

_THREADS = 1  # fixed, so that scores do not depend on the machine


@dataclass(frozen=True)
class VideoEvents:
    """Scores (T,) and events of a video; ``threshold`` is the ``quantile`` of the training scores."""

    video: DemoVideo
    scores: np.ndarray
    frames: int
    fps: float | None
    segment_frames: int
    threshold: float
    quantile: float
    events: tuple[Event, ...]

    @property
    def peak(self) -> float:
        """The highest score."""
        return float(self.scores.max())


def find_all_events(run: Path, store: FeatureStore, videos: Sequence[DemoVideo], quantile: float) -> list[VideoEvents]:
    """Scores and events of the videos; a site's threshold is this ``quantile`` of its own training scores."""
    personalised = PersonalisedModels.load(run)
    thresholds = _Thresholds(personalised, run, quantile)
    found = []
    with progress_bar("scoring", len(videos)) as advance:
        for video in videos:
            entry = store.video(video.name)
            model, threshold = personalised.of(video.site), thresholds.of(video.site)
            (scores,) = model.score_videos(store, [entry], _THREADS)
            events = find_events(
                scores,
                EventPolicy(threshold=threshold),
                frames=entry.frames,
                fps=entry.fps,
                segment_frames=store.segment_frames,
            )
            located: Sequence[Event] = ()
            if events:
                located = with_regions(events, _locator(model, store, entry), store.segment_frames)
            found.append(
                VideoEvents(
                    video, scores, entry.frames, entry.fps, store.segment_frames, threshold, quantile, tuple(located)
                )
            )
            advance(note=video.name)
    return found


class _Thresholds:
    def __init__(self, personalised: PersonalisedModels, run: Path, quantile: float) -> None:
        self._own = {site: choose_threshold(model, run, None, quantile)[0] for site, model in personalised.own.items()}
        # With few videos, noise can hide the quantiles of the common model's scores. A site without a personalised
        # model then takes the median threshold of the others.
        if self._own and not personalised.common.info["calibration"]["quantiles"]:
            self._common = median(self._own.values())
        else:
            self._common, _ = choose_threshold(personalised.common, run, None, quantile)

    def of(self, site: str) -> float:
        return self._own.get(site, self._common)


def _locator(model: Model, store: FeatureStore, entry: VideoIndex) -> Locator:
    valid = None if store.valid is None else np.array(store.valid[entry.start : entry.stop])
    with fixed_threads(_THREADS):
        evidence = np.concatenate([model.evidence(x, own) for _, x, own in blocks(store, entry)])
    return Locator(model.contributions(evidence, valid), stored_regions(store, entry), valid)
