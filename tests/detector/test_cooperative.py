"""GCL's steps against a slow version of section 3 of methods.md: loops, plain PyTorch modules and its RMSprop."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from clap_vad.core.statistics.moments import Moments, Normaliser
from clap_vad.detector import autoencoder, cooperative
from clap_vad.detector.autoencoder import generator_shapes, initial_generator
from clap_vad.detector.cooperative import (
    Cooperation,
    cooperative_training,
    generator_training,
    reconstruction_errors,
)
from clap_vad.detector.drift import Correction
from clap_vad.detector.dropout import DROPOUT, Dropout
from clap_vad.detector.network import initial_weights
from clap_vad.detector.reconstruction import reconstruct
from clap_vad.detector.training import SgdSettings

DIM = 12
SETTINGS = SgdSettings((1e-3, 5e-4), momentum=0.6, batch_size=16)


@pytest.fixture(autouse=True)
def small_generator(monkeypatch, request):
    if "full_size" not in request.fixturenames:
        monkeypatch.setattr(autoencoder, "_HIDDEN", (24, 12, 6, 12, 24))


@pytest.fixture
def full_size():
    """The generator as the paper has it."""


@pytest.fixture
def weights(small_generator) -> dict[str, np.ndarray]:
    return initial_weights(DIM, seed=1) | initial_generator(DIM, seed=1)


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


def nobody(source) -> np.ndarray:
    return np.zeros(len(source), bool)


def linears(sizes: list[int], prefix: str, weights: dict[str, np.ndarray]) -> nn.ModuleList:
    layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
    for number, layer in enumerate(layers, start=1):
        layer.weight.data = torch.tensor(weights[f"{prefix}layer{number}.weight"])
        layer.bias.data = torch.tensor(weights[f"{prefix}layer{number}.bias"])
    return layers


class Slow:
    """Both networks as modules, their two optimisers, and one batch at a time."""

    def __init__(self, weights: dict[str, np.ndarray], settings: SgdSettings, proximal: float = 0.0) -> None:
        self.G = linears([DIM, *autoencoder._HIDDEN, DIM], "generator.", weights)
        self.D = linears([DIM, 512, 32, 1], "", weights) if "layer1.weight" in weights else nn.ModuleList()
        self.optimisers = {
            net: torch.optim.RMSprop(
                net.parameters(), settings.lr[0], momentum=settings.momentum, weight_decay=settings.weight_decay
            )
            for net in (self.G, self.D)
            if len(net)
        }
        self.proximal = proximal
        self.start = {net: [p.detach().clone() for p in net.parameters()] for net in self.optimisers}

    def reconstruct(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.G[:-1]:
            x = torch.relu(layer(x))
        return self.G[-1](x)

    def scores(self, x: torch.Tensor, share: torch.Tensor, drop: Dropout | None = None) -> torch.Tensor:
        h = x.reshape(-1, DIM)
        for layer in self.D[:-1]:
            h = torch.relu(layer(h))
            if drop is not None:
                h = h * drop.keep(h).float() / (1 - DROPOUT)
        return (torch.sigmoid(self.D[-1](h)).reshape(share.shape) * share).sum(1)

    def descend(self, net: nn.ModuleList, loss: torch.Tensor) -> None:
        """The loss and ``(mu / 2) |w - w_global|^2``, by autograd."""
        distance = sum(((p - p0) ** 2).sum() for p, p0 in zip(net.parameters(), self.start[net], strict=True))
        self.optimisers[net].zero_grad()
        (loss + self.proximal / 2 * distance).backward()
        self.optimisers[net].step()

    def weights(self) -> dict[str, np.ndarray]:
        found = {}
        for prefix, net in (("", self.D), ("generator.", self.G)):
            for number, layer in enumerate(net, start=1):
                found[f"{prefix}layer{number}.weight"] = layer.weight.detach().numpy()
                found[f"{prefix}layer{number}.bias"] = layer.bias.detach().numpy()
        return found


def above(values: torch.Tensor, deviations: float) -> list[bool]:
    mean = sum(values.tolist()) / len(values)
    std = math.sqrt(sum((v - mean) ** 2 for v in values.tolist()) / len(values))
    return [v > mean + deviations * std for v in values.tolist()]


def features_of(source) -> tuple[np.ndarray, np.ndarray]:
    """The participant's standardised features (N, C, D) and which crops are present (N, C)."""
    rows = source.rows(np.arange(len(source)))
    x = source.store.features[rows].astype(np.float32)
    if source._normaliser is not None:
        x = (x - source._normaliser.mean) * source._normaliser.scale
    valid = source.store.valid
    return x, np.ones(x.shape[:2], bool) if valid is None else valid[rows]


def batches(source, segments: np.ndarray, settings: SgdSettings, rng: np.random.Generator, net: Slow):
    """What the epochs visit: (numbers, features (n, K, D), share of each crop in an average (n, K))."""
    x, valid = features_of(source)
    for lr in settings.lr:
        for optimiser in net.optimisers.values():
            optimiser.param_groups[0]["lr"] = lr
        order = rng.permutation(segments)
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            crops = np.tile(np.arange(x.shape[1]), (len(batch), 1))
            if settings.crops:
                crops = source.draw_crops(batch, settings.crops, rng)
            own, present = x[batch[:, None], crops], valid[batch[:, None], crops]
            share = np.array([row / max(sum(row), 1) for row in present.astype(float)])
            yield batch, torch.tensor(own), torch.tensor(share, dtype=torch.float32)


def slow_cooperation(weights, source, normal, cooperation, settings, rng, proximal=0.0):
    """Section 3, batch by batch; also counts what was labelled by either network."""
    net, drop, counts = Slow(weights, settings, proximal), Dropout(DROPOUT, rng), {"D": 0, "G": 0}
    _, valid = features_of(source)
    for batch, x, share in batches(source, np.flatnonzero(valid.any(1)), settings, rng, net):
        average = (x * share[:, :, None]).sum(1)
        errors = ((net.reconstruct(average) - average) ** 2).mean(1).detach()
        high = above(errors, cooperation.generator_threshold)
        y = [1.0 if h and not normal[n] else 0.0 for h, n in zip(high, batch, strict=True)]
        loss = nn.functional.binary_cross_entropy(net.scores(x, share, drop), torch.tensor(y))
        net.descend(net.D, loss)
        high = above(net.scores(x, share).detach(), cooperation.detector_threshold)
        losses = []
        for i, segment in enumerate(batch):
            anomalous = high[i] and not normal[segment]
            target = torch.ones(DIM) if anomalous else average[i]
            if cooperation.negative or not anomalous:
                losses.append(((net.reconstruct(average[i : i + 1])[0] - target) ** 2).mean())
            counts["G"] += anomalous
        net.descend(net.G, sum(losses) / len(losses))
        counts["D"] += int(sum(y))
    return net.weights(), counts


def assert_same_way(ours, expected, start) -> None:
    """Equal to a thousandth of the way that training went.

    Per array: RMSprop divides by the gradient's size, so single weights with a tiny one magnify its rounding.
    """
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        way = np.linalg.norm(value - start[name])
        assert way > 1e-4, name
        assert np.linalg.norm(ours[name] - value) < 1e-3 * way, name


@pytest.mark.parametrize(
    ("cooperation", "changes", "proximal"),
    [
        (Cooperation(), {}, 0.0),
        (Cooperation(negative=False), {}, 0.0),
        (Cooperation(generator_threshold=0.5, detector_threshold=0.6), {"weight_decay": 0.05}, 0.0),
        (Cooperation(), {"crops": 2}, 0.0),
        (Cooperation(), {}, 3.0),
    ],
    ids=["defaults", "not-negative", "thresholds", "crops", "proximal"],
)
def test_steps_are_those_of_section_three(make_source, weights, cooperation, changes, proximal):
    source = make_source()
    normal = np.arange(37) % 5 == 0
    settings = SgdSettings(**{**vars(SETTINGS), **changes})
    ours = cooperative_training(
        weights, source, normal, cooperation, settings, generator(), 1, Correction(proximal=proximal)
    )
    expected, counts = slow_cooperation(weights, source, normal, cooperation, settings, generator(), proximal)
    assert counts["D"] >= 4
    assert counts["G"] >= 4
    assert ours.steps == 2 * 3
    assert_same_way(ours.weights, expected, weights)


def test_invalid_regions_and_standardised_features(make_source, weights):
    valid = np.random.default_rng(2).random((37, 3)) < 0.6
    valid[[3, 8]] = False
    normaliser = Normaliser.from_moments(Moments.of(np.random.default_rng(3).normal(1, 2, (50, DIM))))
    source = make_source(dtype=np.float16, valid=valid, normaliser=normaliser)
    ours = cooperative_training(weights, source, nobody(source), Cooperation(), SETTINGS, generator(), 1)
    expected, _ = slow_cooperation(weights, source, nobody(source), Cooperation(), SETTINGS, generator())
    assert_same_way(ours.weights, expected, weights)


@pytest.fixture
def told(monkeypatch) -> list[torch.Tensor]:
    """The labels that the detector is trained on."""
    targets, real = [], nn.functional.binary_cross_entropy

    def noting(scores, target):
        targets.append(target.clone())
        return real(scores, target)

    monkeypatch.setattr(nn.functional, "binary_cross_entropy", noting)
    return targets


def test_segments_of_normal_videos_are_never_labelled(make_source, weights, told):
    """One batch of all: the errors are known beforehand, and so is who lies above the threshold."""
    source = make_source()
    settings = SgdSettings((1e-3,), batch_size=37)
    order = generator().permutation(37)
    suspicious = np.array(above(torch.tensor(reconstruction_errors(weights, source, 1)), 1.0))
    assert suspicious.sum() >= 3
    spared = np.zeros(37, bool)
    spared[np.flatnonzero(suspicious)[:2]] = True
    for normal in (nobody(source), spared):
        cooperative_training(weights, source, normal, Cooperation(), settings, generator(), 1)
    np.testing.assert_array_equal(told[0].numpy(), suspicious[order])
    np.testing.assert_array_equal(told[1].numpy(), (suspicious & ~spared)[order])


@pytest.mark.parametrize(
    ("cooperation", "all_normal"),
    [(Cooperation(detector_threshold=math.inf), False), (Cooperation(), True), (Cooperation(negative=False), True)],
    ids=["never", "normal", "normal-not-negative"],
)
def test_where_the_detector_finds_nothing_the_generator_learns_the_features(
    make_source, weights, cooperation, all_normal
):
    source = make_source()
    normal = np.full(37, all_normal)
    settings = SgdSettings((1e-3,), momentum=0.6, batch_size=37)
    together = cooperative_training(weights, source, normal, cooperation, settings, generator(), 1).weights
    alone = generator_training(weights, source, np.arange(37), settings, generator(), 1).weights
    generators = {name for name in weights if name.startswith("generator.")}
    assert_same_way({name: together[name] for name in generators}, {name: alone[name] for name in generators}, weights)
    told_anomalies = cooperative_training(weights, source, nobody(source), Cooperation(), settings, generator(), 1)
    last = "generator.layer6.bias"
    assert np.abs(told_anomalies.weights[last] - together[last]).max() > 1e-4


def test_generator_alone_is_plain_pytorch_on_the_given_segments(make_source, weights):
    source = make_source()
    own = {name: value for name, value in weights.items() if name.startswith("generator.")}
    segments = np.flatnonzero(np.arange(37) % 3 != 1)
    ours = generator_training(own, source, segments, SETTINGS, generator(), 1)
    net = Slow(own, SETTINGS)
    losses = []
    for batch, x, _ in batches(source, segments, SETTINGS, generator(), net):
        average = x.mean(1)
        loss = nn.functional.mse_loss(net.reconstruct(average), average)
        net.descend(net.G, loss)
        losses.append((len(batch), loss.item()))
    assert_same_way(ours.weights, net.weights(), own)
    last = losses[len(losses) // 2 :]
    assert ours.loss == pytest.approx(sum(n * v for n, v in last) / len(segments), rel=1e-4)
    assert ours.steps == len(losses) == 4


def test_generator_alone_leaves_the_detector_alone(make_source, weights):
    trained = generator_training(weights, make_source(), np.arange(37), SETTINGS, generator(), 1).weights
    for name, value in weights.items():
        assert np.array_equal(trained[name], value) != name.startswith("generator.")


@pytest.mark.parametrize("batch", [5, 4096])
@pytest.mark.parametrize("absent", [False, True])
def test_reconstruction_errors_by_a_loop(make_source, weights, monkeypatch, batch, absent):
    monkeypatch.setattr(cooperative, "_BATCH", batch)
    valid = np.random.default_rng(2).random((37, 3)) < 0.6 if absent else None
    if absent:
        valid[[3, 8]] = False
    normaliser = Normaliser.from_moments(Moments.of(np.random.default_rng(3).normal(1, 2, (50, DIM))))
    source, rng = make_source(valid=valid, normaliser=normaliser), np.random.default_rng(4)
    weights = {name: value + rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in weights.items()}
    errors = reconstruction_errors(weights, source, 1)
    net, (x, present) = Slow(weights, SETTINGS), features_of(source)
    for segment in range(37):
        crops = [x[segment, crop] for crop in range(3) if present[segment, crop]]
        if not crops:
            assert errors[segment] == 0
            continue
        average = torch.tensor(sum(crops) / len(crops))[None]
        made = net.reconstruct(average)[0].detach()
        expected = sum(float(a - b) ** 2 for a, b in zip(made, average[0], strict=True)) / DIM
        assert errors[segment] == pytest.approx(expected, rel=1e-4)


def test_the_generator_is_the_papers_auto_encoder(full_size):
    rng = np.random.default_rng(0)
    weights = initial_generator(20, seed=3)
    own = {name: torch.tensor(value) for name, value in weights.items()}
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate([(20, 1024), (1024, 512), (512, 256), (256, 512), (512, 1024), (1024, 20)], 1):
        layer = nn.Linear(a, b)
        layer.weight.data = own[f"generator.layer{number}.weight"]
        layer.bias.data = own[f"generator.layer{number}.bias"] = torch.tensor(rng.normal(size=b), dtype=torch.float32)
        layers += [layer, nn.ReLU()]
        bound = math.sqrt(6 / (a + b))
        assert 0.95 * bound < np.abs(weights[f"generator.layer{number}.weight"]).max() <= bound
        assert not weights[f"generator.layer{number}.bias"].any()
    x = torch.tensor(rng.normal(size=(7, 20)), dtype=torch.float32)
    torch.testing.assert_close(reconstruct(own, x), nn.Sequential(*layers[:-1])(x))
    assert {name: value.shape for name, value in weights.items()} == generator_shapes(20)


def test_one_generator_one_result(make_source, weights):
    source = make_source()
    before = torch.get_num_threads()
    runs = [
        cooperative_training(weights, source, nobody(source), Cooperation(), SETTINGS, generator(seed), 2)
        for seed in (7, 7, 8)
    ]
    assert torch.get_num_threads() == before
    assert runs[0].loss == runs[1].loss != runs[2].loss
    for name in weights:
        np.testing.assert_array_equal(runs[0].weights[name], runs[1].weights[name])
        assert not np.array_equal(runs[0].weights[name], runs[2].weights[name])


def test_nothing_to_train_on_leaves_the_weights_alone(make_source, weights):
    source = make_source(valid=np.zeros((37, 3), bool))
    for result in (
        cooperative_training(weights, source, nobody(source), Cooperation(), SETTINGS, generator(), 1),
        generator_training(weights, source, source.present(), SETTINGS, generator(), 1),
    ):
        assert (result.steps, result.loss) == (0, 0.0)
        assert all(np.array_equal(result.weights[name], value) for name, value in weights.items())
    assert not reconstruction_errors(weights, source, 1).any()


def test_a_lone_segment_is_never_above_its_own_mean(make_source, weights, told):
    valid = np.zeros((37, 3), bool)
    valid[9] = True
    source = make_source(valid=valid)
    result = cooperative_training(
        weights, source, nobody(source), Cooperation(negative=False), SETTINGS, generator(), 1
    )
    assert [target.tolist() for target in told] == [[0.0]] * 2
    assert all(np.isfinite(value).all() for value in result.weights.values())
    assert not np.array_equal(result.weights["generator.layer6.bias"], weights["generator.layer6.bias"])
