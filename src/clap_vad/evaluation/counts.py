"""Scores matched with frame truth, video by video: the input of every metric.

Segments are not expanded to frames: a segment has a score and its numbers of abnormal and normal frames, so a test set
needs only a few numbers per segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..core.evaluation.frames import segment_counts
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..persistence import UNREADABLE, NpzArrays

__all__ = ["FrameCounts", "VideoCounts", "count_frames", "frame_truth", "pool_counts", "read_scores"]


@dataclass(frozen=True)
class VideoCounts:
    """One test video.

    Attributes:
        video, scene: as in ``videos.csv``.
        scores: (T,) one per segment.
        positives, negatives: (T,) int64, abnormal and normal frames of each segment (none beyond the truth).
        cut: frames of the video beyond its truth; their scores are dropped.
        held: frames of truth beyond the video; they get the last segment's score.
    """

    video: str
    scene: str
    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    cut: int
    held: int


@dataclass(frozen=True)
class FrameCounts:
    """A test set: videos with truth, in the order of ``videos.csv``, and the names of those without."""

    videos: tuple[VideoCounts, ...]
    without_truth: tuple[str, ...] = ()

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(scores, positives, negatives)`` of all segments, the input of :mod:`clap_vad.core.evaluation.metrics`."""
        if not self.videos:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
        return (
            np.concatenate([v.scores for v in self.videos]),
            np.concatenate([v.positives for v in self.videos]),
            np.concatenate([v.negatives for v in self.videos]),
        )

    def scenes(self) -> dict[str, FrameCounts]:
        """The videos of each scene, sorted by scene; empty if no video has a scene."""
        names = sorted({v.scene for v in self.videos if v.scene})
        return {name: FrameCounts(tuple(v for v in self.videos if v.scene == name)) for name in names}


def count_frames(dataset: Dataset, scores: Mapping[str, np.ndarray], origin: str = "scores") -> FrameCounts:
    """Match the scores of a dataset's test videos with its frame truth.

    A test video that is not in ``frame_labels.npz`` is entirely normal if its label in ``videos.csv`` is 0; otherwise
    its frames are unknown, and it is excluded and listed by name.

    Args:
        dataset: the dataset whose test videos were scored.
        scores: video -> (T,) finite scores; may be lazy (an open ``.npz``), each video is read once.
        origin: source of the scores, for error messages.

    Raises:
        ClapError: a test video has no scores, or not one finite score per segment of the store.
    """
    counted, without_truth = [], []
    for video in dataset.test_videos:
        store, entry = dataset.locate(video)
        labels = frame_truth(dataset, video, entry.frames)
        if labels is None:
            without_truth.append(video)
            continue
        found = read_scores(scores, video, entry.segments, origin)
        positives, negatives = segment_counts(labels, entry.segments, store.segment_frames)
        covered = min(entry.segments * store.segment_frames, entry.frames)
        cut, held = max(0, covered - len(labels)), max(0, len(labels) - covered)
        counted.append(VideoCounts(video, dataset.videos[video].scene, found, positives, negatives, cut, held))
    return FrameCounts(tuple(counted), tuple(without_truth))


def pool_counts(parts: Iterable[FrameCounts]) -> FrameCounts:
    """The frames of several test sets as one (folds of a benchmark, each scored by a model not trained on it)."""
    parts = list(parts)
    return FrameCounts(
        tuple(video for part in parts for video in part.videos),
        tuple(video for part in parts for video in part.without_truth),
    )


def frame_truth(dataset: Dataset, video: str, frames: int) -> np.ndarray | None:
    """Labels per frame of a test video; zeros if it is known to be normal; None if unknown."""
    labels = dataset.frame_labels(video)
    if labels is None and dataset.videos[video].label == 0:
        return np.zeros(frames, dtype=np.uint8)
    return labels


def read_scores(scores: Mapping[str, np.ndarray], video: str, segments: int, origin: str) -> np.ndarray:
    """A video's scores, (segments,) finite; otherwise raises :class:`ClapError`, starting with ``origin``."""
    try:
        # read only the header of a file first, so that no memory is allocated for a wrong array
        stated = scores.header(video) if isinstance(scores, NpzArrays) else np.asarray(scores[video])
        fits = stated.shape == (segments,) and stated.dtype.kind in "fiu"
        found = np.asarray(scores[video]) if fits else np.zeros(0)
    except KeyError:
        raise ClapError(
            f"{origin}: test video '{video}' has no scores; they belong to another dataset; "
            "score this one with 'clap evaluate RUN --dataset DATASET'"
        ) from None
    except UNREADABLE as error:
        raise ClapError(f"{origin}: scores of '{video}' cannot be read ({error}); train or score again") from None
    if not fits:
        raise ClapError(
            f"{origin}: scores of '{video}' are {stated.dtype} {stated.shape}, but the dataset's store has {segments} "
            "segments of it; score the dataset again"
        )
    if not np.isfinite(found).all():
        segment = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ClapError(
            f"{origin}: the score of '{video}', segment {segment}, is {found[segment]}; "
            "its features are not finite, or the model has diverged; extract again, or train with a smaller --lr"
        )
    return found
