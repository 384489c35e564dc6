"""Training on some regions of each segment: sampling, gathering, and the expected steps."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from clap_vad.core.statistics.moments import Moments, Normaliser
from clap_vad.detector.network import initial_weights
from clap_vad.detector.training import SgdSettings, local_sgd

DIM = 12


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def labels_of(source) -> np.ndarray:
    return np.random.default_rng(5).random(len(source)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_choice_of_distinct_regions_is_equally_likely(make_source, count):
    source = make_source(crops=5)
    # Pooled over many generators: a single one's counts may be as unlikely as 1 in 1000.
    drawn = np.concatenate([source.draw_crops(np.arange(37), count, generator(seed)) for seed in range(1000)])
    assert drawn.shape == (37_000, count)
    found = Counter(map(tuple, drawn.tolist()))
    choices = list(itertools.combinations(range(5), count))  # ascending and without repetition
    assert found.keys() == set(choices)
    assert chisquare([found[choice] for choice in choices]).pvalue > 0.01


def test_invalid_regions_are_drawn_only_if_too_few_are_valid(make_source):
    valid = np.random.default_rng(2).random((37, 5)) < 0.6
    valid[:3] = [[True] * 5, [False] * 5, [False, True, False, False, False]]
    source = make_source(crops=5, valid=valid)
    rows, rng = source.rows(np.arange(37)), generator()
    seen: list[Counter] = [Counter() for _ in range(37)]
    for _ in range(300):
        for segment, crops in enumerate(source.draw_crops(np.arange(37), 2, rng).tolist()):
            present = set(np.flatnonzero(valid[rows[segment]]).tolist())
            assert len(set(crops)) == 2
            assert len(present & set(crops)) == min(2, len(present))
            seen[segment].update(present & set(crops))
    for segment in range(37):
        present = np.flatnonzero(valid[rows[segment]])
        counts = [seen[segment][int(crop)] for crop in present]
        expected = 300 * min(2, len(present)) / max(len(present), 1)
        assert all(abs(n - expected) < 4 * np.sqrt(300 / 4) for n in counts)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("absent", [False, True])
def test_chosen_regions_are_gathered_as_by_fancy_indexing(make_source, dtype, normalised, absent):
    moments = Moments.of(np.random.default_rng(3).normal(2, 3, (50, DIM)))
    valid = np.random.default_rng(2).random((37, 5)) < 0.5 if absent else None
    source = make_source(
        crops=5, dtype=dtype, valid=valid, normaliser=Normaliser.from_moments(moments) if normalised else None
    )
    segments = np.array([30, 2, 2, 19, 36, 0])
    crops = source.draw_crops(segments, 3, generator())
    out = torch.full((6, 3, DIM), torch.nan)
    weights = source.gather(segments, out, crops)

    rows = np.concatenate([np.arange(e.start, e.stop) for e in source.entries])[segments]
    expected = source.store.features[rows[:, None], crops].astype(np.float32)
    if normalised:
        expected = (expected - moments.mean) / moments.std
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(out.numpy(), expected)
    if not absent:
        assert weights is None
        return
    for row, own, found in zip(rows, crops, weights, strict=True):
        present = [bool(valid[row, crop]) for crop in own]
        np.testing.assert_allclose(found, [p / max(sum(present), 1) for p in present], rtol=1e-6)


@pytest.mark.parametrize("crops", [3, 99])
@pytest.mark.parametrize("absent", [False, True])
def test_drawing_as_many_regions_as_there_are_takes_all(make_source, crops, absent):
    valid = np.random.default_rng(2).random((37, 3)) < 0.7 if absent else None
    source = make_source(valid=valid)
    weights = initial_weights(DIM, seed=1)
    ends = [
        local_sgd(
            weights, source, labels_of(source), SgdSettings((0.1, 0.1), 0.9, batch_size=8, crops=k), generator(), 1
        )
        for k in (0, crops, 2)
    ]
    assert ends[0].loss == ends[1].loss != ends[2].loss
    for name in weights:
        np.testing.assert_array_equal(ends[0].weights[name], ends[1].weights[name])
        assert not np.array_equal(ends[0].weights[name], ends[2].weights[name])


def test_drawn_invalid_regions_do_not_train(make_source):
    """Where one crop of three is present, two drawn ones train as that one alone."""
    valid = np.zeros((37, 3), bool)
    valid[np.arange(37), np.arange(37) % 3] = True
    weights, settings = initial_weights(DIM, seed=1), SgdSettings((0.1,), batch_size=8, shuffle=False, crops=2)
    several = make_source(valid=valid)
    single = make_source(features=several.store.features[valid][:, None])
    ends = [
        local_sgd(weights, source, labels_of(several), settings, generator(), 1, dropout=0.0).weights
        for source in (several, single)
    ]
    for name in weights:
        assert not np.array_equal(ends[0][name], weights[name])
        np.testing.assert_allclose(ends[0][name], ends[1][name], rtol=1e-4, atol=1e-6)


def step_of(source, crops: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Gradient and loss of one step on all segments, read off the weights."""
    weights = initial_weights(DIM, seed=1)
    settings = SgdSettings((1.0,), batch_size=37, crops=crops)
    result = local_sgd(weights, source, labels_of(source), settings, rng, 1, dropout=0.0)
    return np.concatenate([(weights[name] - result.weights[name]).ravel() for name in weights]), result.loss


def test_single_regions_train_on_average_like_all_regions(make_source):
    """The expectation is the gradient of the crops' mean loss, which lies near that of the loss of their mean score."""
    source = make_source()
    draws, rng = 400, generator()
    steps = [step_of(source, 1, rng) for _ in range(draws)]
    gradients, losses = np.array([g for g, _ in steps]), np.array([loss for _, loss in steps])

    w = {k: torch.tensor(v, requires_grad=True) for k, v in initial_weights(DIM, seed=1).items()}
    h = torch.tensor(source.store.features[source.rows(np.arange(37))])
    for layer in (1, 2, 3):
        h = torch.nn.functional.linear(h, w[f"layer{layer}.weight"], w[f"layer{layer}.bias"])
        h = torch.relu(h) if layer < 3 else torch.sigmoid(h)
    targets = torch.tensor(labels_of(source))[:, None].expand(37, 3)
    loss = torch.nn.functional.binary_cross_entropy(h.squeeze(2), targets)
    loss.backward()
    expected = torch.cat([value.grad.ravel() for value in w.values()]).numpy()

    assert abs(losses.mean() - loss.item()) < 3 * losses.std() / np.sqrt(draws)
    mean = gradients.mean(axis=0)
    error = np.sqrt(gradients.var(axis=0).sum() / draws)  # what the mean of so many draws is off by
    assert np.linalg.norm(mean - expected) < 1.5 * error < 0.1 * np.linalg.norm(expected)
    full, _ = step_of(source, 0, generator())
    assert np.dot(mean, full) > 0.98 * np.linalg.norm(mean) * np.linalg.norm(full)
    assert np.linalg.norm(full - expected) > 0  # not the same loss: that of a mean is not the mean of losses
