"""Hours of live pictures, against a slow look at everything that came, and with clocks and networks that misbehave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.video.arrival import ArrivalTime


@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 3.0)), min_size=1, max_size=60))
def test_within_the_window_the_least_delayed_picture_so_far_decides(steps):
    stamps = np.cumsum([step for step, _ in steps])
    arrivals = np.maximum.accumulate(1000 + stamps + [delay for _, delay in steps])
    wall, last = ArrivalTime(), -np.inf
    for k, (stamp, arrived) in enumerate(zip(stamps, arrivals, strict=True)):
        seconds = wall(stamp, arrived)
        expected = max(last, stamp + (arrivals[: k + 1] - stamps[: k + 1]).min())
        assert seconds == pytest.approx(expected, abs=1e-9)
        assert last <= seconds <= arrived + 1e-9
        last = seconds


@pytest.mark.parametrize("drift", [-1e-3, 1e-3])
def test_a_camera_whose_clock_is_fast_or_slow_is_followed_for_a_day(drift):
    rng = np.random.default_rng(0)
    taken = np.arange(0, 86_400, 0.5)
    wall = ArrivalTime()
    arrivals = np.maximum.accumulate(taken + rng.exponential(0.05, len(taken)))
    found = np.array([wall(t * (1 + drift), a) for t, a in zip(taken, arrivals, strict=True)])
    assert np.abs(found - taken).max() < 1.0  # 600 s of drift, undone; uncorrected it would be 86 s
    assert (np.diff(found) >= 0).all()


def test_a_burst_at_the_start_is_recognised_once_it_is_settled():
    stamps = [0.0, 1.0, 2.0, 3.0]
    arrivals = [103.0, 103.0, 103.0, 104.0]  # three seconds were waiting
    wall = ArrivalTime()
    wall.settle(stamps, arrivals)
    assert [wall(s, a) for s, a in zip(stamps, arrivals, strict=True)] == [101.0, 102.0, 103.0, 104.0]
