"""Recovery of inputs from the first layer's update, against PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clap_vad.audit.attacks.recovery import (
    candidates,
    chance_rows,
    distinct_rows,
    first_layers,
    least_errors,
    own_rows,
    recovered,
    rmsprop_gradient,
)
from clap_vad.federation.messages import schemas

DIM, HIDDEN = 24, 40


def sgd_step(x: np.ndarray, seed: int = 0, lr: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Change of the first layer's weight and bias by one step on these rows, by autograd."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(DIM, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))
    scores = torch.sigmoid(net(torch.from_numpy(x)).squeeze(1))
    torch.nn.functional.binary_cross_entropy(scores, torch.zeros(len(x))).backward()
    first = net[0]
    return -lr * first.weight.grad.numpy(), -lr * first.bias.grad.numpy()


def test_the_only_segment_of_a_step_comes_back():
    x = np.random.default_rng(0).normal(size=(1, DIM)).astype(np.float32)
    found = candidates([sgd_step(x)])
    assert len(found) > HIDDEN // 4
    np.testing.assert_allclose(found, np.repeat(x, len(found), axis=0), rtol=1e-3, atol=1e-4)


def test_what_two_rounds_have_in_common_falls_out_of_their_difference():
    x = np.random.default_rng(1).normal(size=(2, DIM)).astype(np.float32)
    second = sgd_step(x[:1])
    extra = sgd_step(x[1:])
    both = (second[0] + extra[0], second[1] + extra[1])
    alone = candidates([both])
    errors = least_errors(candidates([second, both]), x.astype(np.float64))
    assert errors.max() < 1e-3
    assert len(alone)


def test_first_layers_are_found_in_every_declared_message():
    found = {declared.name: layers for declared in schemas() if (layers := first_layers(declared.fields))}
    assert found["scaffold_update"] == ["update.layer1", "control.layer1"]
    assert found["generator_update"] == ["update.generator.layer1"]
    assert found["cooperative_update"] == ["update.layer1", "update.generator.layer1"]
    assert found["model_update"] == first_layers({"update.layer1.weight": 0, "update.layer1.bias": 0})
    assert first_layers({"gradient.layer1.weight": 0, "gradient.layer1.bias": 0}) == ["gradient.layer1"]
    assert not first_layers({"update.layer1.weight": 0, "update.layer2.bias": 0, "weights.layer1.weight": 0})


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_a_first_step_of_rmsprop_is_undone(momentum):
    gradient = np.random.default_rng(7).normal(scale=3e-6, size=(20, 30)).astype(np.float32)
    weight = torch.nn.Parameter(torch.full(gradient.shape, 0.05))
    before = weight.detach().numpy().copy()
    weight.grad = torch.from_numpy(gradient)
    torch.optim.RMSprop([weight], lr=2e-5, momentum=momentum).step()
    found = rmsprop_gradient(weight.detach().numpy() - before, 2e-5)
    np.testing.assert_allclose(found, gradient, rtol=5e-3, atol=1e-11)


def test_the_mean_of_many_segments_reveals_none_of_them():
    x = np.random.default_rng(3).normal(size=(400, DIM)).astype(np.float32)
    result = recovered(candidates([sgd_step(x)]), x.astype(np.float64))
    assert (result.targets, result.within[0.05]) == (400, 0)


def test_errors_are_those_of_a_slow_loop():
    rng = np.random.default_rng(4)
    found, targets = rng.normal(size=(600, 5)), rng.normal(size=(7, 5))
    slow = [min(np.linalg.norm(c - x) / np.linalg.norm(x) for c in found) for x in targets]
    np.testing.assert_allclose(least_errors(found, targets), slow, rtol=1e-9)


def test_targets_are_distinct_regions_and_averages():
    x = np.array([[[1.0, 0], [3, 0]], [[1, 0], [0, 0]], [[5, 5], [7, 7]]], np.float32)
    share = np.array([[0.5, 0.5], [0.5, 0.5], [1, 0]], np.float32)
    assert distinct_rows(x, share).tolist() == [[0.5, 0], [1, 0], [2, 0], [3, 0], [5, 5]]


def test_rows_that_several_participants_hold_are_nobodys():
    shared, own = np.array([[0.0, 1.0]]), np.array([[2.0, 2.0]])
    kept = own_rows({"a": np.concatenate([shared, own]), "b": shared})
    assert kept["a"].tolist() == own.tolist()
    assert len(kept["b"]) == 0


def test_chance_rows_have_the_targets_mean_and_covariance():
    rng = np.random.default_rng(5)
    targets = rng.normal(size=(900, 3)) @ rng.normal(size=(3, 3)) + [1, 2, 3]
    drawn = chance_rows(targets, 20000, seed=0)
    np.testing.assert_allclose(drawn.mean(axis=0), targets.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(targets.T), atol=0.3)


@pytest.mark.parametrize(("found", "targets"), [(0, 3), (3, 0)])
def test_nothing_is_recovered_where_there_is_nothing(found, targets):
    result = recovered(np.ones((found, 2)), np.ones((targets, 2)))
    assert (result.within[0.25], result.best) == (0, None)
