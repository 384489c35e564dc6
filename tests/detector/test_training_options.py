"""Nesterov, what a strategy adds to the steps, and partial epochs of local SGD, against PyTorch's own optimiser."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from clap_vad.detector.drift import Correction
from clap_vad.detector.network import initial_weights
from clap_vad.detector.training import SgdSettings, local_sgd

DIM = 12
STARTING = initial_weights(DIM, seed=1)
PLAIN = {"momentum": 0.0}
MOMENTUM = {"momentum": 0.9}
NESTEROV = {"momentum": 0.9, "nesterov": True}
FORMS = pytest.mark.parametrize("form", [PLAIN, MOMENTUM, NESTEROV], ids=["plain", "momentum", "nesterov"])


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def labels_of(source) -> np.ndarray:
    return np.random.default_rng(5).random(len(source)).astype(np.float32)


def rows_of(source) -> np.ndarray:
    """The participant's features in the order of its videos, (N, C, D)."""
    return np.concatenate([source.store.features[e.start : e.stop] for e in source.entries])


def scores(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The detector without dropout, (n, C, D) -> (n, C)."""
    h = x
    for layer in (1, 2, 3):
        h = torch.nn.functional.linear(h, w[f"layer{layer}.weight"], w[f"layer{layer}.bias"])
        h = torch.relu(h) if layer < 3 else torch.sigmoid(h)
    return h.squeeze(2)


def textbook(source, labels, settings: SgdSettings, proximal: float = 0.0, offset=None) -> dict[str, np.ndarray]:
    """Shuffled epochs of all crops with torch.optim.SGD; the strategy's terms written out."""
    w = {k: torch.tensor(v, requires_grad=True) for k, v in STARTING.items()}
    optimiser = torch.optim.SGD(
        w.values(), settings.lr[0], settings.momentum, weight_decay=settings.weight_decay, nesterov=settings.nesterov
    )
    x, replay = torch.tensor(rows_of(source)), generator()
    for lr in settings.lr:
        optimiser.param_groups[0]["lr"] = lr
        order = replay.permutation(len(x))
        for start in range(0, len(x), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            loss = torch.nn.functional.binary_cross_entropy(scores(w, x[batch]).mean(1), torch.tensor(labels[batch]))
            optimiser.zero_grad()
            loss.backward()
            for name, value in (offset or {}).items():
                w[name].grad += torch.tensor(value)
            optimiser.step()
            with torch.no_grad():
                # The minimum of |u - w|^2 / (2 k) + (mu / 2) |u - w_global|^2, where k is how far a gradient reaches.
                k = lr / (1 - settings.momentum)
                for name, value in w.items():
                    value.copy_((value + k * proximal * torch.tensor(STARTING[name])) / (1 + k * proximal))
    return {k: v.detach().numpy() for k, v in w.items()}


def assert_same_way(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal to a small part of the way that training went."""
    for name, value in expected.items():
        way = np.abs(value - STARTING[name]).max()
        assert way > 1e-3
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=2e-4 * way)


@pytest.mark.parametrize("decay", [0.0, 5e-2])
def test_nesterov_is_pytorchs(make_source, decay):
    source = make_source()
    labels = labels_of(source)
    settings = SgdSettings((0.2, 0.05), weight_decay=decay, batch_size=8, **NESTEROV)
    ours = local_sgd(STARTING, source, labels, settings, generator(), 1, dropout=0.0)
    assert ours.steps == 2 * 5
    assert_same_way(ours.weights, textbook(source, labels, settings))


@FORMS
@pytest.mark.parametrize("decay", [0.0, 5e-2])
def test_an_offset_is_added_to_every_gradient(make_source, form, decay):
    source = make_source()
    labels = labels_of(source)
    rng = np.random.default_rng(3)
    offset = {name: rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in STARTING.items()}
    settings = SgdSettings((0.1, 0.05), weight_decay=decay, batch_size=8, **form)
    ours = local_sgd(STARTING, source, labels, settings, generator(), 1, Correction(offset=offset), dropout=0.0)
    assert_same_way(ours.weights, textbook(source, labels, settings, offset=offset))


@FORMS
def test_the_proximal_pull_by_a_hand_written_loop(make_source, form):
    source = make_source()
    labels = labels_of(source)
    settings = SgdSettings((0.1, 0.05), batch_size=8, **form)
    ours = local_sgd(STARTING, source, labels, settings, generator(), 1, Correction(proximal=2.0), dropout=0.0)
    assert_same_way(ours.weights, textbook(source, labels, settings, proximal=2.0))


def under_a_constant_gradient(source, settings: SgdSettings, proximal: float = 0.0):
    """Training where nothing but an offset of ones moves layer 1: the detector says 0.5 and is told 0.5."""
    silent = {**STARTING, "layer3.weight": np.zeros_like(STARTING["layer3.weight"])}
    ones = {name: np.full_like(value, name == "layer1.weight") for name, value in silent.items()}
    labels = np.full(len(source), 0.5, np.float32)
    result = local_sgd(silent, source, labels, settings, generator(), 1, Correction(proximal, ones), dropout=0.0)
    return silent["layer1.weight"] - result.weights["layer1.weight"], result


@FORMS
def test_travel_is_how_far_a_constant_gradient_of_one_goes(make_source, form):
    settings = SgdSettings((0.1, 0.02, 0.1), batch_size=8, **form)
    way, result = under_a_constant_gradient(make_source(), settings)
    np.testing.assert_allclose(way, result.travel, rtol=1e-5)

    rates, w = np.repeat(settings.lr, 5), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=1.0, **form)
    for lr in rates:
        optimiser.param_groups[0]["lr"] = lr
        w.grad = torch.ones(1)
        optimiser.step()
    assert result.travel == pytest.approx(-w.item(), rel=1e-5)
    speeds = [(1 - 0.9**t) / (1 - 0.9) for t in range(1, 16)]
    by_formula = {"plain": rates, "momentum": rates * speeds, "nesterov": rates * (1 + 0.9 * np.array(speeds))}
    name = "nesterov" if settings.nesterov else "momentum" if settings.momentum else "plain"
    assert result.travel == pytest.approx(by_formula[name].sum(), rel=1e-12)


@FORMS
def test_the_proximal_term_balances_a_constant_gradient_whatever_the_momentum(make_source, form):
    """``mu (w - w_global) = -1`` where the steps come to rest."""
    settings = SgdSettings((0.1,) * 60, batch_size=8, **form)
    way, _ = under_a_constant_gradient(make_source(), settings, proximal=4.0)
    np.testing.assert_allclose(way, 1 / 4.0, rtol=1e-4)


def test_endless_mu_leaves_the_weights_where_they_are(make_source):
    source = make_source()
    settings = SgdSettings((0.1,), batch_size=8, **NESTEROV)
    result = local_sgd(STARTING, source, labels_of(source), settings, generator(), 1, Correction(float("inf")))
    assert result.loss > 0
    assert all(np.array_equal(result.weights[name], value) for name, value in STARTING.items())


def noted(source, monkeypatch) -> list[np.ndarray]:
    """The segments of every batch that is gathered from now on."""
    batches, gather = [], source.gather

    def noting(segments, *rest):
        batches.append(segments)
        return gather(segments, *rest)

    monkeypatch.setattr(source, "gather", noting)
    return batches


@pytest.mark.parametrize(("share", "visited", "steps"), [(1.0, 37, 5), (0.4, 15, 2), (0.01, 1, 1)])
def test_an_epoch_visits_its_share(make_source, monkeypatch, share, visited, steps):
    source = make_source()
    batches = noted(source, monkeypatch)
    settings = SgdSettings((0.01,) * 3, batch_size=8, epoch_share=share)
    result = local_sgd(STARTING, source, labels_of(source), settings, generator(), 1)
    assert result.steps == len(batches) == 3 * steps
    epochs = [np.concatenate(batches[i : i + steps]) for i in range(0, len(batches), steps)]
    for order in epochs:
        assert len(order) == len(set(order.tolist())) == visited
    different = {tuple(sorted(order)) for order in epochs}
    assert len(different) == (1 if share == 1 else 3)
    assert len({tuple(order) for order in epochs}) == 3


def test_over_the_epochs_every_segment_is_visited_alike(make_source, monkeypatch):
    valid = np.ones((37, 3), bool)
    valid[4] = False
    source = make_source(valid=valid)
    batches = noted(source, monkeypatch)
    epochs = 600
    settings = SgdSettings((0.0,) * epochs, batch_size=37, epoch_share=0.25)
    local_sgd(STARTING, source, labels_of(source), settings, generator(), 1)
    counts = np.bincount(np.concatenate(batches), minlength=37)
    absent = int(np.flatnonzero(source.rows(np.arange(37)) == 4)[0])
    assert counts[absent] == 0
    deviation = np.sqrt(epochs * 0.25 * 0.75)
    assert np.abs(np.delete(counts, absent) - epochs * 0.25).max() < 4 * deviation


def test_an_epoch_of_few_segments_takes_smaller_batches(make_source, monkeypatch):
    source = make_source(segments=400)
    batches = noted(source, monkeypatch)
    settings = SgdSettings((0.01,), batch_size=128, min_steps=5, epoch_share=0.2)
    local_sgd(STARTING, source, labels_of(source), settings, generator(), 1)
    assert [len(batch) for batch in batches] == [16] * 5


EVERYTHING = SgdSettings((0.1, 0.05), 0.9, 1e-3, batch_size=8, crops=2, epoch_share=0.7, nesterov=True)


def test_one_generator_one_result(make_source):
    source = make_source()
    runs = [local_sgd(STARTING, source, labels_of(source), EVERYTHING, generator(seed), 1) for seed in (7, 7, 8)]
    assert runs[0].loss == runs[1].loss != runs[2].loss
    for name in STARTING:
        np.testing.assert_array_equal(runs[0].weights[name], runs[1].weights[name])
        assert not np.array_equal(runs[0].weights[name], runs[2].weights[name])


def test_threads_change_roundings_only_and_are_given_back(make_source):
    source = make_source()
    before = torch.get_num_threads()
    one, two = (
        local_sgd(STARTING, source, labels_of(source), EVERYTHING, generator(), threads).weights for threads in (1, 2)
    )
    assert torch.get_num_threads() == before
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations([PLAIN, MOMENTUM, NESTEROV], 2)))
def test_the_forms_of_momentum_differ(make_source, one, other):
    source = make_source()
    ends = [
        local_sgd(STARTING, source, labels_of(source), SgdSettings((0.1,), batch_size=8, **form), generator(), 1)
        for form in (one, other)
    ]
    assert np.abs(ends[0].weights["layer2.weight"] - ends[1].weights["layer2.weight"]).max() > 1e-3
