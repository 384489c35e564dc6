"""Local SGD of the detector, written out by hand.

The backward pass of three layers is short, and writing it out keeps training near the speed of its matrix products:
buffers are made once, ReLU and dropout share one mask, and no gradient is taken with respect to the input.
The result is tested against PyTorch's autograd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from .dropout import DROPOUT, Dropout
from .network import Weights, input_dim
from .source import SegmentSource

__all__ = ["SgdSettings", "TrainingResult", "local_sgd"]

_SMALLEST_BATCH = 8
_LOG_FLOOR = -100.0  # binary cross-entropy clamps its logarithms there, as PyTorch's does


@dataclass(frozen=True)
class SgdSettings:
    """How a participant trains in one round.

    Attributes:
        lr: learning rate of each local epoch, so as many epochs as entries.
        momentum: 0 for plain SGD; the velocity starts at zero in every round.
        weight_decay: L2 coefficient.
        batch_size: segments a step.
        min_steps: steps an epoch has at least, by smaller batches (never under 8 segments); 0 for no such rule.
        shuffle: a fresh order each epoch.
    """

    lr: tuple[float, ...]
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 128
    min_steps: int = 0
    shuffle: bool = True


@dataclass(frozen=True)
class TrainingResult:
    """Weights after local training, mean loss of the last epoch, and the number of steps taken."""

    weights: Weights
    loss: float
    steps: int


def local_sgd(
    weights: Mapping[str, np.ndarray],
    source: SegmentSource,
    labels: np.ndarray,
    settings: SgdSettings,
    rng: np.random.Generator,
    threads: int,
    dropout: float = DROPOUT,
) -> TrainingResult:
    """Train on a participant's segments and pseudo-labels, starting from the global weights.

    Loss: binary cross-entropy between the mean over crops of the scores and the label.

    Args:
        weights: the global model.
        source: the participant's segments.
        labels: (N,) float32 in [0, 1], one per segment of ``source``.
        settings: optimiser settings.
        rng: shuffling and dropout draw from it and from nothing else.
        threads: processor threads; part of the result's identity, since it orders sums.
        dropout: probability of dropping a hidden unit.

    Returns:
        The result; with no trainable segment the weights come back unchanged, loss 0, no steps.
    """
    segments = source.present()
    if len(segments) == 0:
        return TrainingResult(dict(weights), 0.0, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        batch_size = _batch_size(settings, len(segments))
        step = _Step(weights, source.crops, batch_size, settings, rng, dropout)
        loss, steps = 0.0, 0
        for lr in settings.lr:
            order = rng.permutation(segments) if settings.shuffle else segments
            loss = 0.0
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                crop_weights = source.gather(batch, step.inputs(len(batch)))
                loss += step(crop_weights, labels[batch], lr) * len(batch)
                steps += 1
            loss /= len(order)
        return TrainingResult(step.weights(), loss, steps)
    finally:
        torch.set_num_threads(before)


def _batch_size(settings: SgdSettings, segments: int) -> int:
    size = settings.batch_size
    if settings.min_steps:
        size = min(size, max(_SMALLEST_BATCH, segments // settings.min_steps))
    return min(size, segments)


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
    ) -> None:
        self._w = {name: torch.from_numpy(np.array(value, dtype=np.float32)) for name, value in weights.items()}
        self._v = {name: torch.zeros_like(value) for name, value in self._w.items()}
        self._settings, self._crops = settings, crops
        self._dropout = Dropout(dropout, rng)
        rows = batch_size * crops
        self._x = torch.empty(batch_size, crops, input_dim(weights))
        self._h1 = torch.empty(rows, self._w["layer1.bias"].shape[0])
        self._h2 = torch.empty(rows, self._w["layer2.bias"].shape[0])

    def inputs(self, n: int) -> torch.Tensor:
        """The buffer that the next batch of n segments is to be copied into, (n, C, D)."""
        return self._x[:n]

    def weights(self) -> Weights:
        """The present weights."""
        return {name: value.numpy().copy() for name, value in self._w.items()}

    def __call__(self, crop_weights: np.ndarray | None, labels: np.ndarray, lr: float) -> float:
        """Forward, backward and update on the segments now in the input buffer; returns the mean loss."""
        n = len(labels)
        x = self._x[:n].flatten(0, 1)
        rows, scale, w = len(x), self._dropout.scale, self._w
        h1 = torch.addmm(w["layer1.bias"], x, w["layer1.weight"].t(), out=self._h1[:rows])
        self._dropout(h1.relu_())
        h2 = torch.addmm(w["layer2.bias"], h1, w["layer2.weight"].t(), alpha=scale, out=self._h2[:rows])
        self._dropout(h2.relu_())
        logit = torch.addmm(w["layer3.bias"], h2, w["layer3.weight"].t(), alpha=scale)
        crop_scores = torch.sigmoid(logit).view(n, self._crops)

        share = torch.full((1, 1), 1 / self._crops) if crop_weights is None else torch.from_numpy(crop_weights)
        y = torch.from_numpy(labels)
        s = (crop_scores * share).sum(dim=1)
        loss = -(y * s.log().clamp_min(_LOG_FLOOR) + (1 - y) * (-s).log1p().clamp_min(_LOG_FLOOR)).mean()

        # d loss / d s of the mean binary cross-entropy, its denominator floored as PyTorch does.
        d_s = (s - y) / (s * (1 - s)).clamp_min(1e-12) / n
        d3 = (d_s.unsqueeze(1) * share * crop_scores * (1 - crop_scores)).reshape(rows, 1)
        d2 = torch.ops.aten.threshold_backward(torch.mm(d3, w["layer3.weight"]).mul_(scale), h2, 0.0)
        d1 = torch.ops.aten.threshold_backward(torch.mm(d2, w["layer2.weight"]).mul_(scale), h1, 0.0)
        self._update("layer3", d3, h2, scale, lr)
        self._update("layer2", d2, h1, scale, lr)
        self._update("layer1", d1, x, 1.0, lr)
        return float(loss)

    def _update(self, layer: str, delta: torch.Tensor, inputs: torch.Tensor, scale: float, lr: float) -> None:
        # Velocity v <- momentum v + gradient, formed inside the product itself; then w <- w - lr v.
        momentum, decay = self._settings.momentum, self._settings.weight_decay
        weight, bias = self._w[f"{layer}.weight"], self._w[f"{layer}.bias"]
        v_weight, v_bias = self._v[f"{layer}.weight"], self._v[f"{layer}.bias"]
        v_weight.addmm_(delta.t(), inputs, beta=momentum, alpha=scale)
        v_bias.mul_(momentum).add_(delta.sum(dim=0))
        if decay:
            v_weight.add_(weight, alpha=decay)
            v_bias.add_(bias, alpha=decay)
        weight.add_(v_weight, alpha=-lr)
        bias.add_(v_bias, alpha=-lr)
