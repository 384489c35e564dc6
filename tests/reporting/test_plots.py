from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clap_vad.core.events.intervals import intervals
from clap_vad.reporting.plots import envelope, roc_curves, round_curve, score_curve

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_equal_input_gives_equal_bytes():
    scores = np.random.default_rng(0).random(50)
    truth = np.zeros(800, np.uint8)
    truth[100:200] = 1

    def draw():
        return score_curve(scores, frames=800, fps=25.0, threshold=0.9, truth=truth, events=[(0, 32)])

    assert draw() == draw()
    assert round_curve([1, 2], {"a": [0.5, 0.25]}, "loss") == round_curve([1, 2], {"a": [0.5, 0.25]}, "loss")


def test_score_curve_names_what_it_shades():
    found = texts(score_curve(np.array([0.1, 0.9]), frames=32, fps=16.0, threshold=0.5, events=[(16, 32)]))
    assert {"event", "score", "threshold", "time"} <= set(found)
    assert "anomaly (truth)" not in found
    assert "frame" in texts(score_curve(np.array([0.1, 0.9]), frames=32, fps=None))


@pytest.mark.parametrize("scores", [[0.5], [0.0, 0.0], [1.0, 1.0, 1.0]])
@pytest.mark.filterwarnings("error")
def test_flat_and_single_scores_are_drawn_without_complaint(scores):
    assert texts(score_curve(np.array(scores), frames=1, fps=25.0, truth=np.ones(1, np.uint8)))


def test_a_long_video_is_a_small_picture_that_keeps_its_peak():
    scores = np.zeros(200_000, np.float32)
    scores[123_456] = 1.0
    places, values = envelope(scores, 16, 16 * len(scores))
    assert values.max() == 1.0
    assert abs(places[values.argmax()] - 16 * 123_456) < 16 * 200_000 / 1000 + 16
    assert len(score_curve(scores, frames=16 * len(scores), fps=25.0)) < 100_000


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3000), st.integers(1, 16))
def test_envelope_keeps_range_and_ends_with_the_video(scores, last):
    values = np.array(scores)
    frames = 16 * (len(values) - 1) + last
    places, heights = envelope(values, 16, frames)
    assert len(places) == len(heights) <= 2000
    assert (heights.min(), heights.max()) == (values.min(), values.max())
    assert (np.diff(places) >= 0).all() and places[0] == 0 and places[-1] <= frames


def test_a_short_video_is_drawn_as_the_step_curve_itself():
    places, heights = envelope(np.array([0.25, 0.75]), 16, 20)
    assert places.tolist() == [0, 16, 16, 20]
    assert heights.tolist() == [0.25, 0.25, 0.75, 0.75]


@given(st.lists(st.booleans(), max_size=50))
def test_runs_cover_exactly_the_flags(flags):
    covered = [False] * len(flags)
    for start, stop in intervals(np.array(flags, dtype=bool)):
        assert 0 <= start < stop <= len(flags)
        for place in range(start, stop):
            covered[place] = True
    assert covered == flags


def test_names_are_drawn_as_they_are():
    names = ["<b>&", "cost $5 and $6", "_hidden"]
    line = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    found = [text.replace("\u200b", "") for text in texts(roc_curves(dict.fromkeys(names, line)))]
    assert set(names) <= set(found)


def test_a_round_without_a_value_leaves_a_gap():
    svg = round_curve([1, 2, 3], {"loss": [0.5, None, 0.25]}, "loss")
    assert b"nan" not in svg.lower()
    assert "round" in texts(svg)
