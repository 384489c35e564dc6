"""Events of the demo's videos, from the features that the demo has extracted already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.events import Event, find_events
from ..detector.model import Model
from ..features.store import FeatureStore
from ..progress import progress_bar
from .demo_videos import DemoVideo
from .scoring import choose_threshold

__all__ = ["VideoEvents", "find_all_events"]

_BLOCK = 2048  # segments scored at once, so that a long video needs no more memory than a short one


@dataclass(frozen=True)
class VideoEvents:
    """A video's scores (T,) by the model, and its events from ``threshold`` up, the training scores' ``quantile``."""

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
    """Scores and events of the videos.

    ``quantile`` is where the threshold lies among the scores of the training segments.
    """
    model = Model.load(run)
    threshold, _ = choose_threshold(model, run, None, quantile)
    found = []
    with progress_bar("scoring", len(videos)) as advance:
        for video in videos:
            entry = store.video(video.name)
            parts = []
            for start in range(entry.start, entry.stop, _BLOCK):
                stop = min(start + _BLOCK, entry.stop)
                valid = None if store.valid is None else store.valid[start:stop]
                parts.append(model.score(store.read(start, stop), valid))
            scores = np.concatenate(parts)
            events = find_events(
                scores, threshold=threshold, frames=entry.frames, fps=entry.fps, segment_frames=store.segment_frames
            )
            found.append(
                VideoEvents(
                    video, scores, entry.frames, entry.fps, store.segment_frames, threshold, quantile, tuple(events)
                )
            )
            advance(note=video.name)
    return found
