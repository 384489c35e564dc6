"""One account of time: events lie where the constructed truth lies, whatever stamps and clocks do."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.core.events.detection import find_events
from clap_vad.core.events.ongoing import OngoingEvents
from clap_vad.core.events.policy import EventPolicy
from clap_vad.core.events.timing import FrameTimes, TimesBuilder, believed_fps
from clap_vad.features.segments import SegmentFeatures
from clap_vad.monitoring import segments as segments_module
from clap_vad.monitoring.clock import WallClock
from clap_vad.monitoring.recorder import WatchRecorder
from clap_vad.monitoring.segments import SegmentScorer
from clap_vad.monitoring.sink import SessionInfo, SinkContext, Sinks, choose_sinks
from clap_vad.video.arrival import ArrivalTime
from clap_vad.video.live_items import Connected, Shot
from clap_vad.video.times import Repairs, steady

SEGMENT = 16
WRAP = 2**33 / 90_000  # seconds after which the stamps of a transport stream begin anew
FAULTS = st.sampled_from(["none", "future", "past", "near", "zero", "missing"])


@dataclass(frozen=True)
class Recording:
    """Pictures as they were taken, the stamps that they carry, and when something happens."""

    taken: np.ndarray  # seconds since the first one
    stamps: list[float | None]
    truth: tuple[int, int]  # first picture of the event, and first behind it
    rate: float

    def within(self, start: float, stop: float, late: float = 0.0) -> None:
        """Assert that an event lies where the truth does, within one segment, pictures having come so late."""
        segment = (SEGMENT + 1) / self.rate + late
        begin, end = self.taken[self.truth[0]], self.taken[self.truth[1] - 1] + 1 / self.rate
        assert start == pytest.approx(begin, abs=segment) and stop == pytest.approx(end, abs=segment)


def recording(seed: int, rate: float, jitter: float, fault: str, hole: float, jump: float | None) -> Recording:
    """A recording of 400 pictures, a hole of so many seconds in it, its stamps jumping on the way; NaN: they wrap."""
    rng = np.random.default_rng(seed)
    count = 400
    taken = np.arange(count) / rate
    taken[1:] += rng.uniform(-jitter, jitter, count - 1) / rate
    taken[140:] += hole
    first = int(rng.integers(190, 300))
    truth = first, int(rng.integers(first + 40, 370))
    stamps = taken + 500.0
    elsewhere = int(rng.choice([*range(30, 130), *range(150, 380)]))  # a file cannot tell a hole from a jump at once
    if jump is not None and np.isnan(jump):
        stamps = (stamps + WRAP - 500.0 - taken[elsewhere]) % WRAP
    elif jump is not None:
        stamps[elsewhere:] += jump
    found: list[float | None] = stamps.tolist()
    alone = [at for at in range(6, count, 8) if rng.random() < 0.3 and (jump is None or abs(at - elsewhere) > 6)]
    for at in alone if fault != "none" else []:
        right = found[at]
        wrong = {"future": 37600.0, "past": -9800.0, "near": float(rng.uniform(-20, 20)) / rate, "zero": None}
        found[at] = None if fault == "missing" else 0.0 if fault == "zero" else right + wrong[fault]
    return Recording(taken, found, truth, rate)


RECORDINGS = st.builds(
    recording,
    st.integers(0, 2**31),
    st.floats(np.log(0.2), np.log(120)).map(np.exp),
    st.sampled_from([0.0, 0.2, 0.45]),
    FAULTS,
    st.sampled_from([0.0, 0.0, 3.0, 45.0, 4000.0]),
    st.sampled_from([None, None, -400.0, -30.0, np.nan]),
)


def scores(recorded: Recording, starts: np.ndarray) -> np.ndarray:
    """0.9 for each segment that begins in the event."""
    first, end = recorded.truth
    return np.where((starts >= first - SEGMENT // 2) & (starts < end - SEGMENT // 2), 0.9, 0.1)


@settings(deadline=None, max_examples=400)
@given(RECORDINGS)
def test_events_of_files_lie_where_the_truth_lies(recorded: Recording) -> None:
    known = [stamp for stamp in recorded.stamps if stamp is not None]
    fps = believed_fps(known, None)
    assert fps == pytest.approx(recorded.rate, rel=0.1)
    builder = TimesBuilder(fps, SEGMENT)
    items = ((stamp, None, None) for stamp in recorded.stamps)
    for seconds, _ in steady(items, 1 / fps):
        builder.add(seconds)
    frames = len(recorded.taken)
    found = find_events(
        scores(recorded, np.arange(0, frames, SEGMENT)),
        EventPolicy(threshold=0.5, max_gap=0.0, min_length=0.0),
        frames=frames,
        fps=fps,
        times=builder.times(),
    )
    assert len(found) == 1
    recorded.within(found[0].start_seconds, found[0].stop_seconds)
    assert found[0].start_seconds <= found[0].peak_seconds <= found[0].stop_seconds


class Mean:
    """In place of features: the mean of the pictures of a segment."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, picture: np.ndarray) -> None:
        """Take in a picture."""
        self._values.append(float(picture.mean()))

    def finish(self) -> SegmentFeatures:
        """The mean since the last call."""
        mean = np.full((1, 1, 1), np.mean(self._values), np.float32)
        self._values = []
        return SegmentFeatures(mean)


class Looks:
    """An extractor of such means."""

    fps, segment_frames = 25.0, SEGMENT

    def maker(self, fps: float) -> Mean:
        return Mean()

    def placed(self, block: SegmentFeatures) -> SegmentFeatures:
        return block


class Same:
    """In place of a model: the mean is the score."""

    def __init__(self, *_: object) -> None:
        pass

    def add(self, features: np.ndarray, valid: None) -> tuple[float, np.ndarray]:
        return float(features.mean()), np.zeros(0)


@settings(deadline=None, max_examples=150)
@given(RECORDINGS, st.sampled_from([0.0, -60.0, 3600.0, -1.7e9]), st.integers(20, 390), st.floats(0, 2))
def test_events_of_streams_lie_where_the_truth_lies_whatever_the_wall_clock_does(
    recorded: Recording, step: float, at: int, late: float
) -> None:
    """Through the same parts as ``clap watch``, from stamps and arrivals to rows of the database."""
    delays = np.random.default_rng(at).exponential(0.05, len(recorded.taken)) * late
    arrivals = np.maximum.accumulate(5000.0 + recorded.taken + delays)
    clocks = {"monotonic": 5000.0, "set": 0.0}
    told: list[str] = []
    clock = WallClock(told.append, lambda: 1.8e9 + clocks["monotonic"] + clocks["set"], lambda: clocks["monotonic"])
    before = segments_module.StreamScorer
    segments_module.StreamScorer = Same  # type: ignore[assignment,misc]
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = watched(recorded, arrivals, clocks, clock, Path(folder), step, at)
    finally:
        segments_module.StreamScorer = before
    assert len(told) == (step != 0), told
    assert len(rows) == 1
    start, stop, named_before_step = rows[0]
    # whenever it was named, by the clock before the step or behind it
    offset = 1.8e9 + 5000.0 + (0.0 if named_before_step else step)
    recorded.within(start - offset, stop - offset, late=float(delays.max()))


def watched(
    recorded: Recording,
    arrivals: np.ndarray,
    clocks: dict[str, float],
    clock: WallClock,
    folder: Path,
    step: float,
    at: int,
) -> list[tuple[float, float, bool]]:
    """Start and stop of the events in the database, and whether each opened before the clock was set."""
    fps = believed_fps([stamp for stamp in recorded.stamps if stamp is not None], None) or 25.0
    info = SessionInfo("gate", "rtsp://cam/1", "run", "0" * 64, "motion", 0.5, "wall")
    chosen = choose_sinks({"clips": None, "page": None})
    sinks = Sinks(chosen, SinkContext(folder, info, pytest.fail))
    recorder = WatchRecorder(sinks, clock)
    events = OngoingEvents(EventPolicy(threshold=0.5, max_gap=1e-3, min_length=0.0, max_length=1e9))
    scorer = SegmentScorer(None, Looks())  # type: ignore[arg-type]
    taken, opened = ArrivalTime(), []
    number = iter(range(len(arrivals)))
    scorer.take(Connected(5000.0, fps))
    first, end = recorded.truth
    items = ((stamp, float(came), float(came)) for stamp, came in zip(recorded.stamps, arrivals, strict=True))
    for seconds, came in steady(items, 1 / fps, Repairs()):
        picture = next(number)
        clocks["monotonic"] = max(clocks["monotonic"], came)
        if picture == at:
            clocks["set"] = step
        high = first <= picture < end
        segment = scorer.take(Shot(taken(seconds, came), came, np.full((1, 1), 0.9 if high else 0.1)))
        changes = []
        if segment is not None:
            recorder.scored(segment)
            changes = events.add(segment.start, segment.stop, segment.score, segment.region)
        opened += [picture <= at for change in changes if change.kind == "opened"]
        recorder.changed(changes)
        recorder.alive()
    recorder.changed(events.finish())
    recorder.close()
    sinks.each(lambda sink: sink.close("end"))
    with sqlite3.connect(folder / "watch.db") as db:
        rows = db.execute("SELECT start_time, stop_time FROM events ORDER BY number").fetchall()
    return [(start, stop, before) for (start, stop), before in zip(rows, opened, strict=True)]


@given(st.lists(st.floats(0.001, 30.0), min_size=1, max_size=120), st.sampled_from([1, 7, 16]))
def test_frame_times_equal_a_list_of_all_of_them(steps: list[float], every: int) -> None:
    """At every mark; between two of them within the segment."""
    times = np.concatenate(([0.0], np.cumsum(steps)))
    builder = TimesBuilder(10.0, every)
    for seconds in times:
        builder.add(float(seconds))
    account = builder.times() or FrameTimes.even(len(times), 10.0)
    starts = account.start(np.arange(len(times)))
    assert (np.diff(starts) >= -1e-9).all()
    marks = np.arange(0, len(times), every)
    if builder.times() is not None:
        np.testing.assert_allclose(starts[marks], times[marks], atol=1e-9)
    assert (account.stop(np.arange(1, len(times) + 1)) >= starts - 1e-9).all()
    middles = (starts[:-1] + account.stop(np.arange(1, len(times)))) / 2
    wide = account.stop(np.arange(1, len(times))) - starts[:-1] > 1e-6
    assert (account.frame(middles)[wide] == np.arange(len(times) - 1)[wide]).all()
