"""Metrics from counts, against scikit-learn on the frames written out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from clap_vad.core.evaluation.metrics import (
    average_precision,
    pr_auc_trapezoid,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Segments with few distinct scores (many ties), or any finite ones, and up to 16 frames of each class."""
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    width = np.dtype(dtype).itemsize * 8
    few = st.sampled_from([0.0, -0.0, 0.1, 0.5, 0.9])
    score = draw(st.sampled_from([few, st.floats(allow_nan=False, allow_infinity=False, width=width)]))
    rows = draw(st.lists(st.tuples(score, st.integers(0, 16), st.integers(0, 16)), min_size=1, max_size=30))
    scores, positives, negatives = zip(*rows, strict=True)
    return np.array(scores, dtype=dtype), np.array(positives), np.array(negatives)


def expand(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of every frame."""
    scores, positives, negatives = sample
    labels = [np.repeat([1, 0], [p, n]) for p, n in zip(positives, negatives, strict=True)]
    return np.concatenate(labels), np.repeat(scores, positives + negatives)


@given(samples())
def test_areas_equal_scikit_learn_on_frames(sample: Sample) -> None:
    assume(sample[1].any() and sample[2].any())
    labels, scores = expand(sample)
    precision, recall, _ = oracle.precision_recall_curve(labels, scores)
    assert roc_auc(*sample) == pytest.approx(oracle.roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(*sample) == pytest.approx(oracle.average_precision_score(labels, scores), abs=1e-12)
    assert pr_auc_trapezoid(*sample) == pytest.approx(oracle.auc(recall, precision), abs=1e-12)


@given(samples())
def test_curves_equal_scikit_learn_on_frames(sample: Sample) -> None:
    assume(sample[1].any() and sample[2].any())
    labels, scores = expand(sample)
    for ours, theirs in zip(
        (*roc_curve(*sample), *precision_recall_curve(*sample)),
        (
            *oracle.roc_curve(labels, scores, drop_intermediate=False),
            *oracle.precision_recall_curve(labels, scores),
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@given(samples(), st.floats(0.01, 100))
def test_fractional_weights_equal_scikit_learn_sample_weights(sample: Sample, weight: float) -> None:
    assume(sample[1].any() and sample[2].any())
    labels, scores = expand(sample)
    weights = np.where(labels == 1, weight, 1.0)
    weighted = (sample[0], sample[1] * weight, sample[2])
    expected = oracle.roc_auc_score(labels, scores, sample_weight=weights)
    assert roc_auc(*weighted) == pytest.approx(expected, abs=1e-9)
    expected = oracle.average_precision_score(labels, scores, sample_weight=weights)
    assert average_precision(*weighted) == pytest.approx(expected, abs=1e-9)


def test_a_large_test_set_equals_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores = random.random(60_000).astype(np.float32).round(4)
    positives = random.integers(0, 17, len(scores))
    sample = scores, positives, 16 - positives
    labels, frames = expand(sample)
    assert roc_auc(*sample) == pytest.approx(oracle.roc_auc_score(labels, frames), abs=1e-12)
    assert average_precision(*sample) == pytest.approx(oracle.average_precision_score(labels, frames), abs=1e-12)


def test_neighbouring_float32_scores_are_not_tied() -> None:
    low = np.float32(0.5)
    scores = np.array([low, np.nextafter(low, np.float32(1))])
    assert roc_auc(scores, np.array([0, 1]), np.array([1, 0])) == 1.0


def test_integer_scores_rank_as_numbers() -> None:
    assert roc_auc(np.array([200, 3], dtype=np.uint8), np.array([1, 0]), np.array([0, 1])) == 1.0


def test_truth_of_one_class_has_no_value() -> None:
    scores, some, none = np.array([0.2, 0.7]), np.array([3, 4]), np.zeros(2, dtype=int)
    assert roc_auc(scores, some, none) is None
    assert roc_auc(scores, none, some) is None
    assert average_precision(scores, none, some) is None
    assert pr_auc_trapezoid(scores, none, some) is None
    assert average_precision(scores, some, none) == 1.0
    with pytest.raises(ValueError, match="abnormal and normal"):
        roc_curve(scores, some, none)
    with pytest.raises(ValueError, match="abnormal"):
        precision_recall_curve(scores, none, some)


@pytest.mark.parametrize("metric", [roc_auc, average_precision, pr_auc_trapezoid])
def test_nothing_at_all_has_no_value(metric: Callable[..., float | None]) -> None:
    assert metric(np.zeros(0), np.zeros(0), np.zeros(0)) is None


@pytest.mark.parametrize("metric", [roc_auc, average_precision, pr_auc_trapezoid, roc_curve, precision_recall_curve])
@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (([np.nan, 0.1], [1, 0], [0, 1]), "NaN or infinity"),
        (([np.inf, 0.1], [1, 0], [0, 1]), "NaN or infinity"),
        (([0.5, 0.1], [1, -1], [0, 1]), "not negative"),
        (([0.5, 0.1], [1, np.nan], [0, 1]), "finite"),
        (([0.5], [1, 0], [0, 1]), "equally long"),
        (([[0.5, 0.1]], [[1, 0]], [[0, 1]]), "one-dimensional"),
    ],
)
def test_bad_input_is_refused(metric: Callable[..., object], sample: Sample, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(*map(np.array, sample))
