"""Generative cooperative learning at one site: generator and detector label each batch for each other.

Zaheer et al., CVPR 2022, section 3. Uses PyTorch's autograd and RMSprop; the given generator is the only source of
randomness. The optimisers are reset in every round, as momentum is in :mod:`clap_vad.detector.training`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from .autoencoder import GENERATOR
from .drift import Correction
from .dropout import DROPOUT, Dropout
from .network import Weights
from .reconstruction import reconstruct
from .source import SegmentSource
from .threads import torch_threads
from .training import SgdSettings, TrainingResult, epochs

__all__ = ["Cooperation", "cooperative_training", "generator_training", "reconstruction_errors"]

Tensors = dict[str, torch.Tensor]
_BATCH = 4096


@dataclass(frozen=True)
class Cooperation:
    """The thresholds by which each network labels a batch for the other.

    Attributes:
        generator_threshold: segments with an error above the batch's mean + this many standard deviations are labelled
            1 for the detector.
        detector_threshold: segments with a score above the batch's mean + this many standard deviations are anomalous
            for the generator; infinity means none.
        negative: the generator learns to reconstruct anomalous segments as a vector of ones; otherwise it skips them.
    """

    generator_threshold: float = 1.0
    detector_threshold: float = 0.1
    negative: bool = True


def cooperative_training(
    weights: Mapping[str, np.ndarray],
    source: SegmentSource,
    normal: np.ndarray,
    cooperation: Cooperation,
    settings: SgdSettings,
    rng: np.random.Generator,
    threads: int,
    correction: Correction | None = None,
) -> TrainingResult:
    """A round of local steps of both networks.

    Args:
        weights: weights of detector and generator.
        source: the participant's segments.
        normal: (N,) bool, segments known to be normal, which are never labelled 1 (weak supervision).
        cooperation: the thresholds.
        settings: learning rates, momentum, batches; the optimiser is RMSprop.
        rng: draws shuffling, regions and dropout.
        threads: CPU threads; changing it may change the last bits of the result.
        correction: the strategy's correction; only its proximal part is used.

    Returns:
        All weights, and the detector's mean loss over the last epoch.
    """
    trainer = _Trainer(weights, settings, correction)
    drop = Dropout(DROPOUT, rng)

    def step(x: torch.Tensor, share: torch.Tensor, segments: np.ndarray) -> float:
        average = _region_average(x, share)
        known_normal = torch.from_numpy(normal[segments])
        made = reconstruct(trainer.w, average)  # once: the detector's step does not change the generator
        error = (made.detach() - average).square().mean(dim=1)
        y = _above(error, cooperation.generator_threshold) & ~known_normal
        scores = _scores(trainer.w, x, share, drop).clamp(0.0, 1.0)  # rounding can lift a sum of shares above 1
        loss = torch.nn.functional.binary_cross_entropy(scores, y.float())
        trainer.descend(loss, "detector")
        with torch.no_grad():
            anomalous = _above(_scores(trainer.w, x, share, None), cooperation.detector_threshold) & ~known_normal
        target = torch.where(anomalous.unsqueeze(1), torch.ones_like(average), average)
        errors = (made - target).square().mean(dim=1)
        kept = errors if cooperation.negative else errors[~anomalous]
        if len(kept):
            trainer.descend(kept.mean(), "generator")
        return loss.item()

    return trainer.run(source, source.present(), rng, threads, step)


def generator_training(
    weights: Mapping[str, np.ndarray],
    source: SegmentSource,
    segments: np.ndarray,
    settings: SgdSettings,
    rng: np.random.Generator,
    threads: int,
) -> TrainingResult:
    """Train only the generator on these segments, before the cooperation begins (GCL_PT)."""
    trainer = _Trainer(weights, settings, None)

    def step(x: torch.Tensor, share: torch.Tensor, segments: np.ndarray) -> float:
        average = _region_average(x, share)
        loss = (reconstruct(trainer.w, average) - average).square().mean()
        trainer.descend(loss, "generator")
        return loss.item()

    return trainer.run(source, segments, rng, threads, step)


def reconstruction_errors(weights: Mapping[str, np.ndarray], source: SegmentSource, threads: int) -> np.ndarray:
    """Mean squared error of the generator on each segment's average, (N,) float32; 0 if no region is valid."""
    w = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}
    errors = np.empty(len(source), dtype=np.float32)
    with torch_threads(threads), torch.no_grad():
        for start in range(0, len(source), _BATCH):
            segments = np.arange(start, min(start + _BATCH, len(source)))
            x, share = _read(source, segments, None)
            average = _region_average(x, share)
            error = (reconstruct(w, average) - average).square().mean(dim=1)
            errors[segments] = torch.where(share.sum(dim=1) > 0, error, torch.zeros(())).numpy()
    return errors


class _Trainer:
    """Weights, optimisers and the loop over batches, shared by both trainings."""

    def __init__(self, weights: Mapping[str, np.ndarray], settings: SgdSettings, correction: Correction | None) -> None:
        self.w: Tensors = {
            name: torch.from_numpy(np.array(value, dtype=np.float32)).requires_grad_()
            for name, value in weights.items()
        }
        self._settings, self._correction = settings, correction or Correction()
        self._start = {name: value.detach().clone() for name, value in self.w.items()}
        parts = {
            "detector": [name for name in self.w if not name.startswith(GENERATOR)],
            "generator": [name for name in self.w if name.startswith(GENERATOR)],
        }
        self._names = {part: names for part, names in parts.items() if names}
        self._optimisers = {
            part: torch.optim.RMSprop(
                [self.w[name] for name in names],
                lr=settings.lr[0],
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
            )
            for part, names in self._names.items()
        }

    def descend(self, loss: torch.Tensor, part: str) -> None:
        """One RMSprop step on one network, including the strategy's proximal term."""
        optimiser, mu = self._optimisers[part], self._correction.proximal
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if mu:
            for name in self._names[part]:
                w = self.w[name]
                assert w.grad is not None  # the loss depends on every weight of its network
                w.grad.add_(w.detach() - self._start[name], alpha=mu)
        optimiser.step()

    def run(
        self,
        source: SegmentSource,
        segments: np.ndarray,
        rng: np.random.Generator,
        threads: int,
        step: Callable[[torch.Tensor, torch.Tensor, np.ndarray], float],
    ) -> TrainingResult:
        """Call ``step`` on the batches of every epoch."""
        settings, loss, steps = self._settings, 0.0, 0
        if len(segments) == 0:
            return TrainingResult(self._weights(), 0.0, 0, 0.0)
        with torch_threads(threads):
            for lr, batches in epochs(source, segments, settings, rng):
                for optimiser in self._optimisers.values():
                    optimiser.param_groups[0]["lr"] = lr
                loss, visited = 0.0, 0
                for batch, drawn in batches:
                    loss += step(*_read(source, batch, drawn), batch) * len(batch)
                    visited += len(batch)
                    steps += 1
                loss /= visited
        return TrainingResult(self._weights(), loss, steps, 0.0)

    def _weights(self) -> Weights:
        return {name: value.detach().numpy().copy() for name, value in self.w.items()}


def _read(source: SegmentSource, segments: np.ndarray, crops: np.ndarray | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (n, K, D) and the weight of each region in an average (n, K)."""
    x = torch.empty(len(segments), source.crops if crops is None else crops.shape[1], source.dim)
    share = source.gather(segments, x, crops)
    return x, torch.full(x.shape[:2], 1 / x.shape[1]) if share is None else torch.from_numpy(share)


def _region_average(x: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    return torch.einsum("nk,nkd->nd", share, x)


def _scores(w: Mapping[str, torch.Tensor], x: torch.Tensor, share: torch.Tensor, drop: Dropout | None) -> torch.Tensor:
    """s of each segment, (n,): the mean over regions of the detector's scores."""
    h = x.flatten(0, 1)
    for layer in ("layer1", "layer2"):
        h = torch.relu(torch.addmm(w[f"{layer}.bias"], h, w[f"{layer}.weight"].t()))
        if drop is not None:
            h = h * drop.keep(h) * drop.scale
    region_scores = torch.addmm(w["layer3.bias"], h, w["layer3.weight"].t()).sigmoid().view(share.shape)
    return (region_scores * share).sum(dim=1)


def _above(values: torch.Tensor, deviations: float) -> torch.Tensor:
    """Values above their mean + this many standard deviations, (n,) bool."""
    if deviations == math.inf:
        return torch.zeros_like(values, dtype=torch.bool)
    return values > values.mean() + deviations * values.std(correction=0)
