"""Recovery of inputs from the first layer's update, against PyTorch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clap_vad.audit.recovery import candidates, chance_rows, distinct_rows, least_errors, own_rows, recovered

DIM, HIDDEN = 24, 40


def sgd_step(x: np.ndarray, seed: int = 0, lr: float = 0.1) -> dict[str, np.ndarray]:
    """Change of the first layer by one step on these rows, by autograd."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(DIM, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))
    scores = torch.sigmoid(net(torch.from_numpy(x)).squeeze(1))
    torch.nn.functional.binary_cross_entropy(scores, torch.zeros(len(x))).backward()
    first = net[0]
    return {"layer1.weight": -lr * first.weight.grad.numpy(), "layer1.bias": -lr * first.bias.grad.numpy()}


def test_the_only_segment_of_a_step_comes_back():
    x = np.random.default_rng(0).normal(size=(1, DIM)).astype(np.float32)
    found = candidates([sgd_step(x)])
    assert len(found) > HIDDEN // 4
    np.testing.assert_allclose(found, np.repeat(x, len(found), axis=0), rtol=1e-3, atol=1e-4)


def test_what_two_rounds_have_in_common_falls_out_of_their_difference():
    x = np.random.default_rng(1).normal(size=(2, DIM)).astype(np.float32)
    second = sgd_step(x[:1])
    extra = sgd_step(x[1:])
    both = {name: second[name] + extra[name] for name in second}
    alone = candidates([both])
    errors = least_errors(candidates([second, both]), x.astype(np.float64))
    assert errors.max() < 1e-3
    assert len(alone)


def test_weight_decay_is_taken_off():
    x = np.random.default_rng(2).normal(size=(1, DIM)).astype(np.float32)
    step, decay = sgd_step(x), np.full((HIDDEN, DIM), -0.05)
    decayed = {**step, "layer1.weight": step["layer1.weight"] + decay}
    assert recovered(candidates([decayed], [decay]), x.astype(np.float64)).within[0.05] == 1
    assert recovered(candidates([decayed]), x.astype(np.float64)).within[0.05] == 0


def test_the_mean_of_many_segments_tells_none_of_them():
    x = np.random.default_rng(3).normal(size=(400, DIM)).astype(np.float32)
    result = recovered(candidates([sgd_step(x)]), x.astype(np.float64))
    assert (result.targets, result.within[0.05]) == (400, 0)


def test_errors_are_those_of_a_slow_loop():
    rng = np.random.default_rng(4)
    found, targets = rng.normal(size=(600, 5)), rng.normal(size=(7, 5))
    slow = [min(np.linalg.norm(c - x) / np.linalg.norm(x) for c in found) for x in targets]
    np.testing.assert_allclose(least_errors(found, targets), slow, rtol=1e-9)


def test_targets_are_crops_and_averages_once_each():
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
