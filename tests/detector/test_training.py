"""Hand-written SGD against PyTorch's autograd and optimiser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clap_vad.core.statistics.moments import Moments, Normaliser
from clap_vad.detector.network import initial_weights
from clap_vad.detector.source import SegmentSource
from clap_vad.detector.training import SgdSettings, local_sgd
from clap_vad.features.store.reader import VideoIndex


def make_source(rng, segments=37, crops=3, dim=12, dtype=np.float32, valid=None, normaliser=None):
    features = rng.normal(size=(segments, crops, dim)).astype(dtype)
    store = SimpleNamespace(features=features, valid=valid, crops=crops, dim=dim, path=Path("x"))
    entries = [
        VideoIndex("a", 5, 20, 240, None),
        VideoIndex("b", 0, 5, 80, None),
        VideoIndex("c", 20, segments, 1, None),
    ]
    return SegmentSource(store, entries, normaliser)


def autograd_sgd(weights, x, region_weights, labels, settings, orders):
    """The plain PyTorch loop, without dropout."""
    w = {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}
    optimiser = torch.optim.SGD(
        w.values(), lr=settings.lr[0], momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    for order in orders:
        for start in range(0, len(order), settings.batch_size):
            b = order[start : start + settings.batch_size]
            h = torch.tensor(x[b])
            for layer in (1, 2, 3):
                h = torch.nn.functional.linear(h, w[f"layer{layer}.weight"], w[f"layer{layer}.bias"])
                h = torch.relu(h) if layer < 3 else torch.sigmoid(h)
            s = (h.squeeze(2) * torch.tensor(region_weights[b])).sum(1)
            loss = torch.nn.functional.binary_cross_entropy(s, torch.tensor(labels[b]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {k: v.detach().numpy() for k, v in w.items()}


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 5e-2)])
def test_matches_autograd_without_dropout(momentum, decay):
    rng = np.random.default_rng(0)
    source = make_source(rng)
    labels = rng.random(len(source)).astype(np.float32)
    settings = SgdSettings((0.1, 0.1), momentum, decay, batch_size=8)
    weights = initial_weights(12, seed=1)
    ours = local_sgd(weights, source, labels, settings, np.random.Generator(np.random.SFC64(7)), 1, dropout=0.0)

    replay = np.random.Generator(np.random.SFC64(7))
    orders = [replay.permutation(np.arange(len(source))) for _ in range(2)]
    x = np.concatenate([source.store.features[e.start : e.stop] for e in source.entries])
    oracle = autograd_sgd(weights, x, np.full((len(x), 3), 1 / 3, np.float32), labels, settings, orders)
    assert ours.steps == 2 * 5
    for name, value in oracle.items():
        assert not np.array_equal(value, weights[name])
        np.testing.assert_allclose(ours.weights[name], value, rtol=2e-4, atol=2e-6)


def test_invalid_regions_neither_count_nor_train_and_features_are_standardised():
    rng = np.random.default_rng(1)
    valid = rng.random((37, 3)) < 0.5
    valid[3] = False
    moments = Moments.of(rng.normal(3, 2, size=(50, 12)))
    normaliser = Normaliser.from_moments(moments)
    source = make_source(rng, dtype=np.float16, valid=valid, normaliser=normaliser)
    labels = rng.random(len(source)).astype(np.float32)
    settings = SgdSettings((0.05,), batch_size=8, shuffle=False)
    weights = initial_weights(12, seed=1)
    ours = local_sgd(weights, source, labels, settings, np.random.Generator(np.random.SFC64(7)), 1, dropout=0.0)

    rows = np.concatenate([np.arange(e.start, e.stop) for e in source.entries])
    x = (source.store.features[rows].astype(np.float32) - moments.mean.astype(np.float32)) / moments.std
    present = valid[rows].sum(1, keepdims=True)
    region_weights = (valid[rows] / np.maximum(present, 1)).astype(np.float32)
    order = np.flatnonzero(present[:, 0] > 0)
    assert len(order) < len(rows)
    oracle = autograd_sgd(weights, x.astype(np.float32), region_weights, labels, settings, [order])
    for name, value in oracle.items():
        np.testing.assert_allclose(ours.weights[name], value, rtol=1e-3, atol=1e-5)


def test_dropout_keeps_the_stated_share_and_the_expected_activation():
    rng = np.random.default_rng(2)
    source = make_source(rng, segments=300)
    labels = np.zeros(len(source), np.float32)
    settings = SgdSettings((0.0,), batch_size=300)
    weights = initial_weights(12, seed=1)
    from clap_vad.detector.training import _Step

    step = _Step(weights, 3, 300, settings, np.random.Generator(np.random.SFC64(3)), 0.6)
    source.gather(np.arange(300), step.inputs(300))
    step(None, labels, 0.0)
    x = step.inputs(300).numpy().reshape(900, 12)
    reference = np.maximum(x @ weights["layer1.weight"].T + weights["layer1.bias"], 0)
    kept = step._h1.numpy()[reference > 0] > 0
    assert abs(kept.mean() - 0.4) < 0.005
    expected = kept.mean() * step._dropout.scale
    assert abs(expected - 1) < 0.02
    np.testing.assert_allclose(
        step._h1.numpy()[reference > 0][kept], reference[reference > 0][kept], rtol=1e-4, atol=1e-6
    )


def test_same_generator_same_bits():
    rng = np.random.default_rng(3)
    source = make_source(rng)
    labels = rng.random(len(source)).astype(np.float32)
    weights = initial_weights(12, seed=1)
    runs = [
        local_sgd(weights, source, labels, SgdSettings((0.1,), 0.9), np.random.Generator(np.random.SFC64(5)), 2).weights
        for _ in range(2)
    ]
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in weights)


def test_nothing_to_train_on_leaves_the_weights_alone():
    rng = np.random.default_rng(4)
    source = make_source(rng, valid=np.zeros((37, 3), bool))
    weights = initial_weights(12, seed=1)
    result = local_sgd(weights, source, np.zeros(37, np.float32), SgdSettings((0.1,)), np.random.default_rng(0), 1)
    assert result.steps == 0
    assert all(np.array_equal(result.weights[name], weights[name]) for name in weights)


@pytest.mark.parametrize(("segments", "min_steps", "steps"), [(37, 0, 1), (37, 16, 5), (400, 16, 16), (400, 0, 4)])
def test_small_sites_take_smaller_batches(segments, min_steps, steps):
    source = make_source(np.random.default_rng(5), segments=segments)
    settings = SgdSettings((0.1,), batch_size=128, min_steps=min_steps)
    labels = np.zeros(len(source), np.float32)
    assert local_sgd(initial_weights(12, 1), source, labels, settings, np.random.default_rng(0), 1).steps == steps
