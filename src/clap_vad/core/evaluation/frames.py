"""From segments to frames: the frames of each segment, and how many of them are abnormal."""

from __future__ import annotations

import numpy as np

__all__ = ["frame_scores", "frames_per_segment", "segment_counts"]


def frame_scores(scores: np.ndarray, frames: int, segment_frames: int = 16) -> np.ndarray:
    """Scores per frame: each segment's score is repeated; the last one also covers any remaining frames.

    Args:
        scores: (T,), T >= 1, one per segment.
        frames: frames wanted, at least 0.
        segment_frames: frames per segment, at least 1.

    Returns:
        (frames,) of the same dtype.

    Raises:
        ValueError: scores that are not a one-dimensional, non-empty array, or a count out of range.

    >>> frame_scores(np.array([0.1, 0.9]), 5, segment_frames=2)
    array([0.1, 0.1, 0.9, 0.9, 0.9])
    """
    scores = np.asarray(scores)
    if scores.ndim != 1 or not scores.size:
        raise ValueError(f"scores {scores.shape}: give a one-dimensional array with at least one score")
    return np.repeat(scores, frames_per_segment(len(scores), frames, segment_frames))


def frames_per_segment(segments: int, frames: int, segment_frames: int = 16) -> np.ndarray:
    """Number of frames that each segment covers under the rule of :func:`frame_scores`: (segments,) int64.

    >>> frames_per_segment(3, 40)
    array([16, 16,  8])
    >>> frames_per_segment(2, 40), frames_per_segment(3, 16)
    (array([16, 24]), array([16,  0,  0]))
    """
    return np.diff(_boundaries(segments, frames, segment_frames))


def segment_counts(labels: np.ndarray, segments: int, segment_frames: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Abnormal and normal frames of each segment.

    Args:
        labels: (frames,) 0 or 1 per frame, integers or booleans.
        segments: T >= 1, segments of the video; frames beyond T * segment_frames belong to the last one.
        segment_frames: frames per segment.

    Returns:
        ``(abnormal, normal)``, each (T,) int64; they sum to the number of frames.

    Raises:
        ValueError: labels not one-dimensional, or no segment.

    >>> segment_counts(np.array([0, 0, 0, 1, 1]), 2, segment_frames=2)
    (array([0, 2]), array([2, 1]))
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels {labels.shape}: give a one-dimensional array, one label per frame")
    boundaries = _boundaries(segments, len(labels), segment_frames)
    abnormal = np.diff(np.concatenate([[0], np.cumsum(labels, dtype=np.int64)])[boundaries])
    return abnormal, np.diff(boundaries) - abnormal


def _boundaries(segments: int, frames: int, segment_frames: int) -> np.ndarray:
    """First frame of each segment, then the end of the last one, (segments + 1,)."""
    if segments < 1 or frames < 0 or segment_frames < 1:
        raise ValueError(f"{segments} segments, {frames} frames, {segment_frames} frames per segment: out of range")
    boundaries = np.minimum(np.arange(segments + 1, dtype=np.int64) * segment_frames, frames)
    boundaries[-1] = frames
    return boundaries
