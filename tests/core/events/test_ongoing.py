"""Events reported while they happen equal those found afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.core.events.detection import find_events
from clap_vad.core.events.ongoing import Change, OngoingEvent, OngoingEvents
from clap_vad.core.events.policy import EventPolicy
from clap_vad.errors import ClapError

LEVELS = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


def report(events, scores, seconds=1.0, at=0.0):
    """(segment, change) of segments without a hole between them."""
    return [
        (t, change)
        for t, score in enumerate(scores)
        for change in events.add(at + t * seconds, at + (t + 1) * seconds, score)
    ]


@settings(max_examples=300, deadline=None)
@given(
    scores=st.lists(LEVELS, min_size=1, max_size=60),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.5]),
    max_gap=st.integers(0, 70),
    min_length=st.integers(0, 50),
    segment_frames=st.sampled_from([1, 7, 16]),
    last=st.integers(-15, 20),
    fps=st.sampled_from([3.0, 10.0, 25.0, 30000 / 1001]),
    begun=st.sampled_from([0.0, 1.7e9 + 1 / 3]),
)
def test_closed_events_are_those_found_in_the_whole(
    scores, threshold, max_gap, min_length, segment_frames, last, fps, begun
):
    frames = max(len(scores) * segment_frames + last, (len(scores) - 1) * segment_frames + 1)
    policy = EventPolicy(threshold=threshold, max_gap=max_gap / fps, min_length=min_length / fps, max_length=1e9)
    expected = find_events(np.array(scores), policy, frames=frames, fps=fps, segment_frames=segment_frames)
    events = OngoingEvents(policy)
    changes = []
    for t, score in enumerate(scores):
        stop = min((t + 1) * segment_frames, frames)
        changes += events.add(begun + t * segment_frames / fps, begun + stop / fps, score)
    changes += events.finish(begun + frames / fps)

    closed = [change.event for change in changes if change.kind == "closed"]
    assert [event.number for event in closed] == list(range(len(expected)))
    for event, whole in zip(closed, expected, strict=True):
        assert event.start - begun == pytest.approx(whole.start_seconds, abs=2e-6)
        assert event.stop - begun == pytest.approx(whole.stop_seconds, abs=2e-6)
        assert event.peak - begun == pytest.approx(whole.peak_seconds, abs=0.5 / fps + 2e-6)  # a frame is whole
        assert event.score == whole.peak_score
    # each is opened, then has ever higher peaks, then is closed with the last of them; never two at a time
    for number, event in enumerate(closed):
        reported = [change for change in changes if change.event.number == number]
        assert [reported[0].kind, reported[-1].kind] == ["opened", "closed"]
        assert [change.kind for change in reported[1:-1]] == ["peak"] * (len(reported) - 2)
        levels = [change.event.score for change in reported[:-1]]
        assert levels == sorted(set(levels)) and levels[-1] == event.score
    assert [change.event.number for change in changes] == sorted(change.event.number for change in changes)


@given(scores=st.lists(LEVELS, max_size=40), max_gap=st.integers(0, 4), min_length=st.integers(0, 5))
def test_an_event_is_reported_as_soon_as_it_is_certain(scores, max_gap, min_length):
    """Told once the rule finds it in what came so far, closed once another high segment would not belong to it."""
    policy = EventPolicy(threshold=0.5, max_gap=max_gap, min_length=min_length)
    found = report(OngoingEvents(policy), scores)
    for t in range(len(scores)):
        so_far = find_events(np.array(scores[: t + 1]), policy, frames=t + 1, fps=1.0, segment_frames=1)
        assert sum(change.kind == "opened" for at, change in found if at <= t) == len(so_far)
        over = [event for event in so_far if t + 1 - event.stop_frame > max_gap]
        assert sum(change.kind == "closed" for at, change in found if at <= t) == len(over)


def test_a_peak_brings_its_region():
    events, box = OngoingEvents(EventPolicy(threshold=0.5, min_length=2, max_gap=1)), (0.0, 0.0, 0.5, 0.5)
    assert events.add(0, 1, 0.9, box) == [] and events.current is None
    event = OngoingEvent(0, 0, 2, 0.5, 0.9, box)
    assert events.add(1, 2, 0.7, (0.5, 0.5, 1.0, 1.0)) == [Change("opened", event)]
    assert events.add(2, 3, 0.9, (0.5, 0.5, 1.0, 1.0)) == []  # the first one on ties
    assert events.current == OngoingEvent(0, 0, 3, 0.5, 0.9, box)
    assert events.add(3, 4, 1.0) == [Change("peak", OngoingEvent(0, 0, 4, 3.5, 1.0, None))]


def test_a_hole_in_the_stream_closes_an_event_only_if_it_is_longer_than_the_gap():
    for hole, kinds in ((2.0, ["peak"]), (2.5, ["closed", "opened"])):
        events = OngoingEvents(EventPolicy(threshold=0.5, max_gap=2))
        report(events, [0.6, 0.6])
        assert [change.kind for change in events.add(2 + hole, 3 + hole, 0.7)] == kinds
    events = OngoingEvents(EventPolicy(threshold=0.5, max_gap=2))
    report(events, [0.6, 0.6])
    assert events.pass_until(4.0) == []
    assert [(change.kind, change.event.stop) for change in events.pass_until(4.1)] == [("closed", 2.0)]
    assert events.pass_until(9.0) == [] and events.finish() == []


def test_a_camera_that_is_stuck_gives_events_of_the_longest_length():
    changes = report(OngoingEvents(EventPolicy(threshold=0.5, max_length=60)), [0.8] * 150)
    assert [(t, change.kind, change.event.start, change.event.stop) for t, change in changes] == [
        (0, "opened", 0, 1),
        (60, "closed", 0, 60),
        (60, "opened", 60, 61),
        (120, "closed", 60, 120),
        (120, "opened", 120, 121),
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"threshold": float("nan")}, "threshold: nan"),
        ({"max_gap": -1.0}, "max_gap: -1.0"),
        ({"min_length": float("inf")}, "min_length: inf"),
        ({"hold": -1.0}, "hold: -1.0"),
        ({"max_length": 0.0, "min_length": 0.0}, "max_length: 0.0"),
        ({"max_length": 0.4}, "max_length: 0.4"),
    ],
)
def test_numbers_out_of_range_are_refused(change, text):
    with pytest.raises(ClapError, match=text):
        EventPolicy(**{"threshold": 0.5, **change})


def test_invalid_segments_are_refused():
    events = OngoingEvents(EventPolicy(threshold=0.5))
    events.add(10, 11, 0.7)
    for start, stop, score, text in (
        (11, 12, float("nan"), "finite"),
        (9, 10, 0.7, "before the last segment ends"),
        (11, 11, 0.7, "before the last segment ends"),
    ):
        with pytest.raises(ClapError, match=text):
            events.add(start, stop, score)
