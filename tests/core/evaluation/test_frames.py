"""Segments to frames, against a loop over frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.evaluation.frames import frame_scores, frames_per_segment, segment_counts


@given(st.integers(1, 12), st.integers(0, 60), st.integers(1, 7))
def test_every_frame_takes_the_score_of_its_segment(segments: int, frames: int, segment_frames: int) -> None:
    scores = np.arange(segments, dtype=np.float32)
    expected = [min(frame // segment_frames, segments - 1) for frame in range(frames)]
    found = frame_scores(scores, frames, segment_frames)
    assert found.dtype == np.float32
    assert found.tolist() == expected
    assert (
        frames_per_segment(segments, frames, segment_frames).tolist()
        == np.bincount(np.array(expected, dtype=int), minlength=segments).tolist()
    )


@given(st.integers(1, 12), st.lists(st.integers(0, 1), max_size=60), st.integers(1, 7))
def test_counts_equal_a_loop_over_frames(segments: int, labels: list[int], segment_frames: int) -> None:
    expected = np.zeros((2, segments), dtype=int)
    for frame, label in enumerate(labels):
        expected[1 - label, min(frame // segment_frames, segments - 1)] += 1
    abnormal, normal = segment_counts(np.array(labels, dtype=np.uint8), segments, segment_frames)
    assert abnormal.tolist() == expected[0].tolist()
    assert normal.tolist() == expected[1].tolist()


def test_long_truth_does_not_overflow_uint8() -> None:
    abnormal, normal = segment_counts(np.ones(5000, dtype=np.uint8), 1)
    assert (abnormal.tolist(), normal.tolist()) == ([5000], [0])


@pytest.mark.parametrize("scores", [np.zeros(0), np.zeros((2, 2)), np.float32(1)])
def test_scores_must_be_a_flat_array(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one-dimensional array"):
        frame_scores(scores, 4)


@pytest.mark.parametrize(("segments", "frames", "segment_frames"), [(0, 1, 16), (1, -1, 16), (1, 1, 0)])
def test_numbers_out_of_range_are_refused(segments: int, frames: int, segment_frames: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        frames_per_segment(segments, frames, segment_frames)


def test_labels_must_be_flat() -> None:
    with pytest.raises(ValueError, match="one-dimensional"):
        segment_counts(np.zeros((2, 3)), 1)
