"""Steady times and even sampling, against slow loops and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.errors import ClapError
from clap_vad.video.reader import VideoReader
from clap_vad.video.times import Repairs, at_rate, steady

STEPS = st.lists(st.floats(0.001, 9.0), min_size=1, max_size=60)


def numbered(times):
    return [(float(t), np.array(k)) for k, t in enumerate(times)]


def shown(stamps, step=0.1, arrivals=None):
    """Seconds of pictures with these stamps, and what was wrong with them."""
    arrived = [None] * len(stamps) if arrivals is None else arrivals
    repairs = Repairs()
    found = list(steady(zip(stamps, arrived, range(len(stamps)), strict=True), step, repairs))
    assert [number for _, number in found] == list(range(len(stamps)))  # none is lost, none comes before another
    return [seconds for seconds, _ in found], repairs


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e5, 1e5)), min_size=1, max_size=80),
    st.sampled_from([None, 0.1, 7.0]),
    st.floats(0.005, 10.0),
)
def test_times_start_at_zero_and_never_run_backwards_whatever_the_stamps_are(stamps, apart, step):
    arrivals = None if apart is None else [1000 + apart * number for number in range(len(stamps))]
    seconds, _ = shown(stamps, step, arrivals)
    assert seconds[0] == 0
    assert (np.diff(seconds) >= 0).all()


def test_consistent_stamps_are_kept_and_continue_after_a_restart():
    stamps = [100.0, 100.04, 100.5, 100.54, 0.0, 0.04, 3.0, 3.04, 3.08, 3.12]
    seconds, repairs = shown(stamps, 0.04)
    assert seconds == pytest.approx([0, 0.04, 0.5, 0.54, 0.58, 0.62, 3.58, 3.62, 3.66, 3.7], abs=0.05)
    assert (repairs.false, repairs.jumps) == (0, 1)
    assert repairs.summary() == "time stamps restart 1 time, joined without a gap"


def test_a_pause_of_a_stream_is_as_long_as_it_was_here_whatever_its_stamps_say():
    stamps = [*np.arange(40) / 10, *(5000 + np.arange(40) / 10)]
    arrivals = [*(90 + np.arange(40) / 10), *(124 + np.arange(40) / 10)]  # 30 s without a picture
    seconds, repairs = shown(stamps, 0.1, arrivals)
    np.testing.assert_allclose(seconds, np.array(arrivals) - 90, atol=0.2)
    assert repairs.jumps == 1


@settings(deadline=None, max_examples=30)  # the slow look takes its time
@given(STEPS, st.floats(0.5, 60.0))
def test_even_sampling_equals_a_slow_look_at_every_slot(steps, rate):
    times = np.concatenate(([0.0], np.cumsum(steps)))
    found = [(t, int(p)) for t, p in at_rate(numbered(times), rate)]
    seconds = np.array([t for t, _ in found])
    np.testing.assert_allclose(seconds, np.arange(len(found)) / rate, atol=1e-9)
    for count, (_, number) in enumerate(found):
        limit = (count + 0.5) / rate
        due = [k for k, t in enumerate(times) if t < limit - 1e-9]
        near = [k for k, t in enumerate(times) if abs(t - limit) <= 1e-9]
        assert number == due[-1] or number in near


@given(st.floats(1.0, 60.0), st.integers(0, 2**31))
def test_jitter_drops_and_repeats_nothing(rate, seed):
    jitter = np.random.default_rng(seed).uniform(-0.49, 0.49, 200)
    jitter[0] = 0  # times count from the first picture
    found = [int(number) for _, number in at_rate(numbered((np.arange(200) + jitter) / rate), rate)]
    assert found == list(range(200))


def test_a_hole_is_left_open():
    times = [0.0, 0.1, 0.2, 3600.0, 3600.1]
    found = [(round(t, 3), int(p)) for t, p in at_rate(numbered(times), 10.0)]
    assert found == [(0.0, 0), (0.1, 1), (0.2, 2), (3600.0, 3), (3600.1, 4)]


@pytest.mark.parametrize(("fps", "rate", "count"), [(30, 10.0, 20), (10, 25.0, 150), (25, 25.0, 60)])
def test_a_file_read_at_another_rate(tmp_path, render, moving, fps, rate, count):
    path = render(tmp_path / "a.mp4", moving(60, 48, 64), fps=fps)
    reader = VideoReader(path, rate=rate)
    times = []
    for _ in reader:
        times.append(reader.seconds)
    assert reader.fps == rate
    assert abs(len(times) - count) <= 2
    np.testing.assert_allclose(times, np.arange(len(times)) / rate, atol=1e-6)


def test_uneven_frames_are_given_at_their_own_times(tmp_path, render, moving):
    stamps = [0, 1, 2, 10, 11, 25, 26, 40, 41, 50]
    reader = VideoReader(render(tmp_path / "a.mp4", moving(10), times=stamps))
    seconds = []
    for _ in reader:
        seconds.append(reader.seconds)
    np.testing.assert_allclose(seconds, np.array(stamps) / 25, atol=1e-6)


@pytest.mark.parametrize("rate", [0, -1, 1e6, float("nan")])
def test_absurd_rates_are_refused(tmp_path, rate):
    with pytest.raises(ClapError, match="pictures per second"):
        VideoReader(tmp_path / "a.mp4", rate=rate)
