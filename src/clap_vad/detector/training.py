"""Local SGD of the detector, with a hand-written backward pass.

This keeps training near the speed of its matrix products: buffers are allocated once, ReLU and dropout share one mask,
and the gradient with respect to the input is not computed. Tested against PyTorch's autograd.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from .drift import Correction
from .dropout import DROPOUT, Dropout
from .network import Weights, input_dim
from .source import SegmentSource
from .threads import torch_threads

__all__ = ["SgdSettings", "TrainingResult", "epochs", "local_sgd", "steps_per_epoch"]

_SMALLEST_BATCH = 8
_LOG_FLOOR = -100.0  # lower limit of logarithms in the binary cross-entropy, as in PyTorch


@dataclass(frozen=True)
class SgdSettings:
    """Settings of local training in one round.

    Attributes:
        lr: learning rate of each local epoch; one entry per epoch.
        momentum: 0 for plain SGD; the velocity starts at zero in every round.
        weight_decay: L2 coefficient.
        batch_size: segments per step.
        min_steps: least number of steps per epoch, reached by smaller batches (at least 8 segments); 0 for no limit.
        crops: regions per segment that a step uses, sampled anew each time; 0 for all.
        epoch_share: share of the segments that an epoch uses, sampled anew each epoch.
        shuffle: shuffle the segments each epoch.
        nesterov: Nesterov momentum as in PyTorch: a step of ``g + momentum v``.
    """

    lr: tuple[float, ...]
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 128
    min_steps: int = 0
    crops: int = 0
    epoch_share: float = 1.0
    shuffle: bool = True
    nesterov: bool = False


@dataclass(frozen=True)
class TrainingResult:
    """Result of local training.

    Attributes:
        weights: weights after training.
        loss: mean loss of the last epoch.
        steps: number of steps.
        travel: sum of the effective learning rates, momentum included: the distance for a constant gradient of one;
            ``steps * lr`` for plain SGD.
    """

    weights: Weights
    loss: float
    steps: int
    travel: float


def local_sgd(
    weights: Mapping[str, np.ndarray],
    source: SegmentSource,
    labels: np.ndarray,
    settings: SgdSettings,
    rng: np.random.Generator,
    threads: int,
    correction: Correction | None = None,
    dropout: float = DROPOUT,
) -> TrainingResult:
    """Train on a participant's segments and pseudo-labels, starting from the global weights.

    Loss: binary cross-entropy between the label and the mean score over regions.

    Args:
        weights: the global model.
        source: the participant's segments.
        labels: (N,) float32 in [0, 1], one per segment of ``source``.
        settings: optimiser settings.
        rng: the only source of randomness, for shuffling and dropout.
        threads: CPU threads; changing it may change the last bits of the result.
        correction: the strategy's correction of every step.
        dropout: probability of dropping a hidden unit.

    Returns:
        The result; without trainable segments the weights are unchanged, loss and steps are 0.
    """
    segments = source.present()
    if len(segments) == 0:
        return TrainingResult(dict(weights), 0.0, 0, 0.0)
    with torch_threads(threads):
        size = _batch_size(settings, _visited(settings, len(segments)))
        step = _Step(weights, _crops(source, settings), size, settings, rng, dropout, correction)
        loss, steps, speed, travel = 0.0, 0, 0.0, 0.0
        for lr, batches in epochs(source, segments, settings, rng):
            loss, visited = 0.0, 0
            for batch, drawn in batches:
                region_weights = source.gather(batch, step.inputs(len(batch)), drawn)
                loss += step(region_weights, labels[batch], lr) * len(batch)
                visited += len(batch)
                steps += 1
                speed = settings.momentum * speed + 1
                travel += lr * (1 + settings.momentum * speed if settings.nesterov else speed)
            loss /= visited
        return TrainingResult(step.weights(), loss, steps, travel)


Batch = tuple[np.ndarray, np.ndarray | None]


def epochs(
    source: SegmentSource, segments: np.ndarray, settings: SgdSettings, rng: np.random.Generator
) -> Iterator[tuple[float, Iterator[Batch]]]:
    """A round's epochs, with lazily drawn batches.

    Yields:
        (learning rate, batches); a batch is the indices of segments (n,) and the regions to use (n, K), None for all.
    """
    visited, crops = _visited(settings, len(segments)), _crops(source, settings)
    size = _batch_size(settings, visited)

    def batches(order: np.ndarray) -> Iterator[Batch]:
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            yield batch, None if crops == source.crops else source.draw_crops(batch, crops, rng)

    for lr in settings.lr:
        yield lr, batches(rng.permutation(segments)[:visited] if settings.shuffle else segments[:visited])


def _crops(source: SegmentSource, settings: SgdSettings) -> int:
    return min(settings.crops or source.crops, source.crops)


def _visited(settings: SgdSettings, segments: int) -> int:
    return max(1, round(settings.epoch_share * segments))


def _batch_size(settings: SgdSettings, visited: int) -> int:
    size = settings.batch_size
    if settings.min_steps:
        size = min(size, max(_SMALLEST_BATCH, visited // settings.min_steps))
    return min(size, visited)


def steps_per_epoch(settings: SgdSettings, segments: int) -> int:
    """Number of steps of an epoch over so many segments.

    >>> steps_per_epoch(SgdSettings((0.1,), batch_size=128, min_steps=16), 300)
    17
    """
    visited = _visited(settings, segments)
    return -(-visited // _batch_size(settings, visited))


class _Step:
    """One optimiser step on a batch of segments; owns the weights, velocities and work buffers."""

    def __init__(
        self,
        weights: Mapping[str, np.ndarray],
        crops: int,
        batch_size: int,
        settings: SgdSettings,
        rng: np.random.Generator,
        dropout: float,
        correction: Correction | None = None,
    ) -> None:
        self._w = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in weights.items()}
        self._v = {name: torch.zeros_like(value) for name, value in self._w.items()}
        self._settings, self._crops, self._correction = settings, crops, correction or Correction()
        self._offsets = self._correction.offsets()
        self._start = {name: value.clone() for name, value in self._w.items()} if self._correction.proximal else {}
        self._dropout = Dropout(dropout, rng)
        rows = batch_size * crops
        self._x = torch.empty(batch_size, crops, input_dim(weights))
        self._h1 = torch.empty(rows, self._w["layer1.bias"].shape[0])
        self._h2 = torch.empty(rows, self._w["layer2.bias"].shape[0])

    def inputs(self, n: int) -> torch.Tensor:
        """The buffer for the next batch of n segments, (n, C, D)."""
        return self._x[:n]

    def weights(self) -> Weights:
        """The current weights."""
        return {name: value.numpy().copy() for name, value in self._w.items()}

    def __call__(self, region_weights: np.ndarray | None, labels: np.ndarray, lr: float) -> float:
        """Forward, backward and update on the segments now in the input buffer; returns the mean loss."""
        n = len(labels)
        x = self._x[:n].flatten(0, 1)
        rows, scale, w = len(x), self._dropout.scale, self._w
        h1 = torch.addmm(w["layer1.bias"], x, w["layer1.weight"].t(), out=self._h1[:rows])
        self._dropout(h1.relu_())
        h2 = torch.addmm(w["layer2.bias"], h1, w["layer2.weight"].t(), alpha=scale, out=self._h2[:rows])
        self._dropout(h2.relu_())
        logit = torch.addmm(w["layer3.bias"], h2, w["layer3.weight"].t(), alpha=scale)
        region_scores = torch.sigmoid(logit).view(n, self._crops)

        share = torch.full((1, 1), 1 / self._crops) if region_weights is None else torch.from_numpy(region_weights)
        y = torch.from_numpy(labels)
        s = (region_scores * share).sum(dim=1)
        loss = -(y * s.log().clamp_min(_LOG_FLOOR) + (1 - y) * (-s).log1p().clamp_min(_LOG_FLOOR)).mean()

        # d loss / d s of the mean binary cross-entropy; the denominator has PyTorch's lower limit.
        d_s = (s - y) / (s * (1 - s)).clamp_min(1e-12) / n
        d3 = (d_s.unsqueeze(1) * share * region_scores * (1 - region_scores)).reshape(rows, 1)
        d2 = torch.ops.aten.threshold_backward(torch.mm(d3, w["layer3.weight"]).mul_(scale), h2, 0.0)
        d1 = torch.ops.aten.threshold_backward(torch.mm(d2, w["layer2.weight"]).mul_(scale), h1, 0.0)
        self._update("layer3", d3, h2, scale, lr)
        self._update("layer2", d2, h1, scale, lr)
        self._update("layer1", d1, x, 1.0, lr)
        return float(loss)

    def _update(self, layer: str, delta: torch.Tensor, inputs: torch.Tensor, scale: float, lr: float) -> None:
        # Velocity v <- momentum v + gradient, computed inside the matrix product; then w <- w - lr v.
        momentum, decay = self._settings.momentum, self._settings.weight_decay
        # Momentum repeats each gradient 1 / (1 - momentum) times; the proximal term needs the same weight.
        pull = self._correction.pull(lr / (1 - momentum))
        ahead = lr * momentum if self._settings.nesterov else 0.0
        names = (f"{layer}.weight", f"{layer}.bias")
        before = {name: self._v[name].clone() for name in names} if ahead else {}
        self._v[names[0]].addmm_(delta.t(), inputs, beta=momentum, alpha=scale)
        self._v[names[1]].mul_(momentum).add_(delta.sum(dim=0))
        for name in names:
            w, v = self._w[name], self._v[name]
            if decay:
                v.add_(w, alpha=decay)
            if name in self._offsets:
                v.add_(self._offsets[name])
            w.add_(v, alpha=-(lr + ahead))
            if ahead:  # Nesterov's g + m v equals (1 + m) v - m v_before, so the gradient is not needed separately
                w.add_(before[name], alpha=ahead)
            if pull:
                w.lerp_(self._start[name], pull)
