from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.events.detection import Event, find_events
from clap_vad.core.events.policy import EventPolicy
from clap_vad.errors import ClapError


def slow_events(scores, threshold, max_gap_frames, min_length_frames, segment_frames, frames):
    """The rule, frame by frame: mark, fill gaps, drop short runs."""
    high = [scores[min(f // segment_frames, len(scores) - 1)] >= threshold for f in range(frames)]
    runs = runs_of(high)
    for (_, stop), (start, _) in itertools.pairwise(runs):
        if start - stop <= max_gap_frames:
            for f in range(stop, start):
                high[f] = True
    found = []
    for start, stop in runs_of(high):
        if stop - start < min_length_frames:
            continue
        best = max(range(start, stop), key=lambda f: scores[min(f // segment_frames, len(scores) - 1)])
        found.append((start, stop, scores[min(best // segment_frames, len(scores) - 1)]))
    return found


def runs_of(flags):
    runs, start = [], None
    for position, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = position
        elif not flag and start is not None:
            runs.append((start, position))
            start = None
    return runs


@given(
    scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=40),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.5]),
    max_gap=st.integers(0, 70),
    min_length=st.integers(0, 50),
    segment_frames=st.sampled_from([1, 7, 16]),
    last=st.integers(-15, 20),
)
def test_agrees_with_the_frame_by_frame_rule(scores, threshold, max_gap, min_length, segment_frames, last):
    frames = max(len(scores) * segment_frames + last, (len(scores) - 1) * segment_frames + 1)
    found = find_events(
        np.array(scores, np.float32),
        EventPolicy(threshold=threshold, max_gap=max_gap / 10, min_length=min_length / 10),
        frames=frames,
        fps=10.0,
        segment_frames=segment_frames,
    )
    expected = slow_events(scores, threshold, max_gap, min_length, segment_frames, frames)
    assert [(e.start_frame, e.stop_frame, e.peak_score) for e in found] == expected
    for event in found:
        assert event.start_frame <= event.peak_frame < event.stop_frame
        assert scores[min(event.peak_frame // segment_frames, len(scores) - 1)] == event.peak_score
        frames_shown = (event.start_frame, event.stop_frame, event.peak_frame)
        seconds = (event.start_seconds, event.stop_seconds, event.peak_seconds)
        assert seconds == pytest.approx([frame / 10 for frame in frames_shown], abs=1e-9)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30), st.floats(0, 5), st.floats(0, 5))
def test_a_wider_gap_never_gives_more_events(scores, gap, extra):
    def count(max_gap):
        policy = EventPolicy(threshold=0.5, max_gap=max_gap, min_length=0)
        return len(find_events(np.array(scores), policy, frames=16 * len(scores), fps=25.0))

    assert count(gap + extra) <= count(gap)


def test_reaching_the_threshold_is_enough_and_the_whole_video_may_be_one_event():
    scores = np.full(4, 0.5, np.float32)
    (event,) = find_events(scores, EventPolicy(threshold=0.5), frames=61, fps=None)
    assert event == Event(0, 61, 8, 0.5, None, None, None)
    assert find_events(scores, EventPolicy(threshold=np.nextafter(0.5, 1)), frames=61, fps=None) == []


def test_threshold_is_compared_in_double_precision():
    # 0.3 in single precision is a little above 0.3; a threshold rounded to single precision would drop it
    score = np.float32(0.3)
    assert find_events(np.array([score]), EventPolicy(threshold=float(score) + 1e-12), frames=16, fps=25.0) == []
    assert len(find_events(np.array([score]), EventPolicy(threshold=float(score) - 1e-12), frames=16, fps=25.0)) == 1


def test_gap_and_length_given_in_seconds_hold_exactly_at_awkward_rates():
    # high, one low segment of 3 frames, high: 0.1 s at 30 fps
    scores = np.array([1.0, 0.0, 1.0])
    options = {"frames": 9, "fps": 30.0, "segment_frames": 3}
    assert len(find_events(scores, EventPolicy(threshold=0.5, max_gap=0.1, min_length=0), **options)) == 1
    assert len(find_events(scores, EventPolicy(threshold=0.5, max_gap=0.09, min_length=0), **options)) == 2
    assert len(find_events(scores, EventPolicy(threshold=0.5, max_gap=0, min_length=0.1), **options)) == 2
    assert len(find_events(scores, EventPolicy(threshold=0.5, max_gap=0, min_length=0.11), **options)) == 0


def test_an_empty_video_has_no_events():
    assert find_events(np.zeros(0), EventPolicy(threshold=0.0), frames=0, fps=25.0) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scores": np.array([0.1, np.nan])}, "segment 1: not a finite number"),
        ({"scores": np.zeros((2, 1))}, r"shape \(2, 1\)"),
        ({"frames": 16}, "2 segments of 16 frames do not fit 16 frames"),
        ({"fps": 0.0}, "fps: 0.0"),
        ({"segment_frames": 0}, "segment_frames: 0"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(change, text):
    arguments = {"scores": np.zeros(2), "frames": 32, "fps": 25.0, **change}
    with pytest.raises(ClapError, match=text):
        find_events(arguments.pop("scores"), EventPolicy(threshold=0.5), **arguments)
