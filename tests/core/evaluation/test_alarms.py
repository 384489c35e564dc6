"""Alarm metrics compared with a loop over segments, and thresholds with trying each of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.core.evaluation.alarm_truth import Events, match_alarms, truth_events
from clap_vad.core.evaluation.alarms import (
    Footage,
    Stream,
    alarm_histogram,
    alarm_spans,
    count_alarms,
    threshold_for_rate,
    threshold_from_histogram,
)
from clap_vad.core.statistics.histogram import BINS, bin_edges
from clap_vad.errors import ClapError

few = settings(max_examples=20, deadline=None)
LEVELS = [0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0]


def slow_alarms(stream: Stream, threshold: float, hold: float) -> list[tuple[int, int]]:
    """A machine that sees one segment after the other: first and last segment over the threshold of each alarm."""
    fps = stream.fps or 25.0
    found, active, quiet = [], False, 0
    for t, score in enumerate(stream.scores.tolist()):
        if score >= threshold:
            if not active:
                found.append([t, t])
            found[-1][1], active, quiet = t, True, 0
        else:
            quiet += stream.segment_frames
            if quiet > hold * fps + 1e-6:
                active = False
    return [(first, last) for first, last in found]


def just_above(score: float) -> float:
    return float(np.nextafter(np.float32(score), np.float32(2)))


def segment_of(stream: Stream, frame: int) -> int:
    return min(frame // stream.segment_frames, len(stream.scores) - 1)


def slow_events(labels: list[int], fps: float) -> list[tuple[int, int]]:
    """Frame by frame: an event ends where a second without an abnormal frame follows."""
    found: list[list[int]] = []
    for frame, label in enumerate(labels):
        if label and found and frame - found[-1][1] < fps - 1e-6:
            found[-1][1] = frame + 1
        elif label:
            found.append([frame, frame + 1])
    return [(start, stop) for start, stop in found]


def slow_judgement(stream: Stream, labels: list[int], threshold: float, hold: float) -> tuple[int, int, list[float]]:
    """Alarms, false alarms and latencies by looking at every frame of every event."""
    fps = stream.fps or 25.0
    events = slow_events(labels, fps)
    touched = {segment_of(stream, frame) for start, stop in events for frame in range(start, stop)}
    alarms = slow_alarms(stream, threshold, hold)
    false = sum(not touched & set(range(first, last + 1)) for first, last in alarms)
    latencies = []
    for start, stop in events:
        for t in range(segment_of(stream, start), segment_of(stream, stop - 1) + 1):
            if float(stream.scores[t]) >= threshold:
                last = t == len(stream.scores) - 1
                seen = stream.frames if last else (t + 1) * stream.segment_frames
                latencies.append((seen - start) / fps)
                break
    return len(alarms), false, latencies


@st.composite
def streams(draw: st.DrawFn, spare: int = 20) -> Stream:
    scores = draw(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=30))
    each = draw(st.sampled_from([1, 4, 16]))
    frames = (len(scores) - 1) * each + draw(st.integers(1, each + spare))
    return Stream(np.array(scores, np.float32), frames, draw(st.sampled_from([None, 4.0, 10.0])), each)


holds = st.sampled_from([0.0, 0.1, 0.4, 1.0, 1.6, 3.0, 10.0, 99.0])


@st.composite
def truths(draw: st.DrawFn) -> tuple[Stream, np.ndarray]:
    stream = draw(streams())
    labels = np.zeros(stream.frames, np.uint8)
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, stream.frames - 1))
        labels[start : start + draw(st.integers(1, 30))] = 1
    return stream, labels


@few
@given(st.lists(streams(), min_size=1, max_size=4), holds)
def test_alarms_are_those_of_a_machine_that_sees_segment_after_segment(given, hold):
    footage = Footage.of(given, hold)
    thresholds = np.array([-1.0, *LEVELS, 1.5])
    for threshold, counted in zip(thresholds, count_alarms(footage, thresholds), strict=True):
        expected = [
            (start + first, start + last)
            for stream, start in zip(given, footage.bounds[:-1], strict=True)
            for first, last in slow_alarms(stream, threshold, hold)
        ]
        assert [tuple(span) for span in alarm_spans(footage, threshold).tolist()] == expected
        assert counted == len(expected)


@few
@given(st.lists(truths(), min_size=1, max_size=4), holds, st.sampled_from(LEVELS))
def test_alarm_metrics_equal_a_loop_over_every_frame(given, hold, threshold):
    footage = Footage.of([stream for stream, _ in given], hold)
    found = match_alarms(footage, Events.of(footage, [labels for _, labels in given]), threshold)
    slow = [slow_judgement(stream, labels.tolist(), threshold, hold) for stream, labels in given]
    assert (found.alarms, found.false) == (sum(s[0] for s in slow), sum(s[1] for s in slow))
    assert found.latencies.tolist() == pytest.approx([latency for s in slow for latency in s[2]])
    assert (found.latencies > 0).all()
    assert 0 <= found.active <= footage.seconds.sum() + 1e-9


@few
@given(st.lists(truths(), min_size=2, max_size=3), st.lists(st.sampled_from(LEVELS), min_size=3, max_size=3))
def test_every_video_may_have_a_threshold_of_its_own(given, thresholds):
    footage = Footage.of([stream for stream, _ in given])
    found = match_alarms(footage, Events.of(footage, [own for _, own in given]), np.array(thresholds[: len(given)]))
    slow = [
        slow_judgement(stream, labels.tolist(), threshold, 10.0)
        for (stream, labels), threshold in zip(given, thresholds, strict=False)
    ]
    assert (found.alarms, found.false) == (sum(s[0] for s in slow), sum(s[1] for s in slow))
    assert found.latencies.tolist() == pytest.approx([latency for s in slow for latency in s[2]])


@few
@given(st.lists(st.integers(0, 1), max_size=60), st.sampled_from([1.0, 4.0, 7.5]))
def test_events_are_stretches_of_abnormal_frames_without_flicker(labels, fps):
    found = truth_events(np.array(labels, np.uint8), fps)
    assert [tuple(event) for event in found.tolist()] == slow_events(labels, fps)


@few
@given(st.lists(streams(), min_size=1, max_size=4), holds, st.integers(0, 40))
def test_the_threshold_is_the_smallest_that_keeps_the_rate_from_there_upwards(given, hold, alarms):
    footage = Footage.of(given, hold)
    rate = alarms / footage.hours
    found = threshold_for_rate(footage, rate)

    def count(threshold: float) -> int:
        return sum(len(slow_alarms(stream, threshold, hold)) for stream in given)

    levels = np.unique(footage.scores)
    assert all(count(level) <= alarms for level in [found, *levels[levels >= found]])
    too_low = levels[levels < found]
    assert not len(too_low) or count(too_low[-1]) > alarms
    assert not len(too_low) or found == just_above(too_low[-1])


@few
@given(st.lists(st.lists(streams(), min_size=1, max_size=3), min_size=1, max_size=3), st.integers(0, 10))
def test_sites_find_the_threshold_by_adding_histograms(sites, alarms):
    parts = [alarm_histogram(Footage.of(site)) for site in sites]
    footage = Footage.of([stream for site in sites for stream in site])
    summed = np.sum(parts, axis=0)
    assert (summed.shape, summed.dtype) == ((BINS,), np.int64)
    np.testing.assert_array_equal(summed, alarm_histogram(footage))
    rate = alarms / footage.hours
    found = threshold_from_histogram(summed, 3600 * footage.hours, rate)
    exact = threshold_for_rate(footage, rate)
    assert count_alarms(footage, np.array([found]))[0] <= alarms
    edges = np.append(bin_edges()[:-1], just_above(1.0))
    # the lowest edge that is no lower than what the scores themselves give; where any will do, 0
    assert found == edges[np.searchsorted(edges, exact)] or (found == 0 and exact == footage.scores.min())


def test_a_permanent_alarm_does_not_keep_a_rate():
    # at 0 one alarm that never ends; at 0.5 many
    scores = np.tile([0.4, 0.0, 0.0, 0.0], 50)
    footage = Footage.of([Stream(scores, 200, 1.0, 1)], hold=1)
    assert count_alarms(footage, np.array([0.0, 0.4])).tolist() == [1, 50]
    assert threshold_for_rate(footage, 3600 / 200) == just_above(0.4)


def test_too_short_footage_keeps_a_rate_above_its_highest_score():
    footage = Footage.of([Stream(np.array([0.1, 1.0, 0.3], np.float32), 48, 25.0)])
    assert threshold_for_rate(footage, 1.0) == just_above(1.0)
    assert threshold_from_histogram(alarm_histogram(footage), 48 / 25, 1.0) == just_above(1.0)


def test_hold_counts_the_quiet_seconds_between_segments():
    # 16 quiet frames of 16 are 0.64 s at 25 per second
    stream = Stream(np.array([0.9, 0.1, 0.9]), 48, None)
    assert len(alarm_spans(Footage.of([stream], hold=0.64), 0.5)) == 1
    assert len(alarm_spans(Footage.of([stream], hold=0.63), 0.5)) == 2


def test_an_event_under_an_older_alarm_is_late_by_its_own_segment():
    footage = Footage.of([Stream(np.array([0.9, 0.1, 0.9, 0.9]), 7, 1.0, 2)])
    events = Events.of(footage, [np.array([0, 0, 0, 0, 0, 1, 1])])
    found = match_alarms(footage, events, 0.5)
    assert (found.alarms, found.false, found.latencies.tolist()) == (1, 0, [1.0])
    assert match_alarms(footage, events, 0.95).latencies.tolist() == []


def test_the_last_segment_ends_with_the_video():
    footage = Footage.of([Stream(np.array([0.1, 0.9]), 19, 1.0, 16)])
    found = match_alarms(footage, Events.of(footage, [np.repeat([0, 1], [17, 2])]), 0.5)
    assert found.latencies.tolist() == [2.0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scores": np.zeros(0)}, "at least one"),
        ({"scores": np.array([np.nan])}, "finite"),
        ({"scores": np.zeros((2, 1))}, r"\(2, 1\)"),
        ({"frames": 0}, "0 frames"),
        ({"fps": 0.0}, "fps: 0.0"),
        ({"segment_frames": 0}, "out of range"),
    ],
)
def test_what_is_no_video_is_refused(change, text):
    with pytest.raises(ValueError, match=text):
        Footage.of([Stream(np.zeros(1), 16, 25.0)._replace(**change)])


def test_holds_and_rates_out_of_range_are_refused():
    with pytest.raises(ClapError, match="hold: -1"):
        Footage.of([], hold=-1)
    with pytest.raises(ValueError, match="rate: -1"):
        threshold_for_rate(Footage.of([Stream(np.zeros(1), 16, 25.0)]), -1)
