"""Scores of a stream are those of the whole video, from what a segment can depend on."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from random_models import KINDS, make, mixture_model, video

from clap_vad.detector.model import Model
from clap_vad.detector.stream import StreamScorer
from clap_vad.errors import ClapError

RATES = (None, 5.0, 60.0)


def absences(T: int, C: int, seed: int) -> np.ndarray:
    """(T, C) crops that come and go, for longer and for shorter than makes them another object."""
    rng = np.random.default_rng(seed)
    return np.stack([np.repeat(rng.random(T) < 0.6, rng.integers(1, 9, T))[:T] for _ in range(C)], axis=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("masked", [True, False])
def test_a_stream_is_scored_as_the_whole_video(kind, fps, masked):
    model: Model = make(kind)
    x, _ = video(T=90, dim=model.dim)
    valid = absences(90, 3, seed=5) if masked else None
    scorer = StreamScorer(model, fps)
    found = [scorer.add(x[t], None if valid is None else valid[t]) for t in range(90)]
    scores, shown = np.array([score for score, _ in found]), np.array([crops for _, crops in found])

    # A matrix product has other last digits for other numbers of rows, so: from the evidence of single segments
    parts = [model.evidence(x[t : t + 1], None if valid is None else valid[t : t + 1]) for t in range(90)]
    evidence = np.concatenate(parts)
    np.testing.assert_allclose(scores, model.scores(evidence, valid, fps, causal=True), rtol=0, atol=1e-7)  # float32
    for t in (0, 30, 89):
        seen = None if valid is None else valid[: t + 1]
        np.testing.assert_array_equal(shown[t], model.contributions(evidence[: t + 1], seen)[-1])
    np.testing.assert_allclose(scores, model.score(x, valid, fps, causal=True), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", RATES)
def test_a_score_depends_on_look_back_segments_and_no_more(kind, fps):
    model, now = make(kind), 80
    valid = np.ones((81, 3), bool)
    evidence = np.abs(np.random.default_rng(0).normal(size=(81, 3)))
    before, back = model.scores(evidence, valid, fps, causal=True)[now], model.look_back(fps)

    def with_less(at):  # of an object, the largest are left out
        changed = evidence.copy()
        changed[: at + 1] -= 100
        return model.scores(changed, valid, fps, causal=True)[now]

    assert with_less(now - back) < before
    assert with_less(now - back - 1) == pytest.approx(before, abs=1e-7)


def test_memory_does_not_grow():
    scorer, (x, valid) = StreamScorer(mixture_model(), 25.0), video(T=50)

    def held(segments):
        for t in range(segments):
            scorer.add(x[t % 50], valid[t % 50])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    before = held(60)
    assert held(240) - before < 5_000  # the evidence of 240 segments is 6 kB, in arrays of their own 36 kB
    tracemalloc.stop()


def test_segments_of_another_shape_are_refused():
    scorer, (x, valid) = StreamScorer(mixture_model(), 25.0), video()
    scorer.add(x[0], valid[0])
    for features, mask in ((x[1, :, :4], valid[1]), (x[1, :2], valid[1, :2]), (x[1], None)):
        with pytest.raises(ClapError, match=r"do not match this model|differ in their number of regions"):
            scorer.add(features, mask)
