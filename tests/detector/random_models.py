"""Random models of every kind, and videos for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from clap_vad.core.density.gaussian_mixture import Mixture
from clap_vad.core.density.projection import Projection
from clap_vad.core.density.surprise import value_histogram
from clap_vad.core.statistics.moments import Normaliser
from clap_vad.detector.model import Model
from clap_vad.detector.models.mixture import Density, MixtureModel, Remembered, log_likelihood_ratio
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import initial_weights

DIM = 6
INFO: dict[str, Any] = {"dim": DIM, "segment_frames": 16, "crops": 3, "calibration": {}}
KINDS = ("network", "mixture", "wide mixture")


def mixture_of(d: int, rng: np.random.Generator, k: int = 4) -> Mixture:
    root = rng.normal(size=(k, d, d)) / d
    return Mixture(rng.dirichlet(np.ones(k)), rng.normal(size=(k, d)), root @ np.swapaxes(root, 1, 2) + np.eye(d))


def mixture_model(seed: int = 0, followed: bool = True, dim: int = DIM) -> MixtureModel:
    """Position is the last two of five columns, unless the features are wide."""
    rng = np.random.default_rng(seed)
    projection = Projection.of(dim, (0, 1, 3, 4, 5) if dim == DIM else None, seed)
    d = projection.dim
    constants = Normaliser(rng.normal(size=d).astype(np.float32), rng.uniform(0.5, 2, d).astype(np.float32))
    rows, kept = rng.normal(size=(300, d)).astype(np.float32), np.arange(d - 2)
    whole = mixture_of(d, rng)
    experts = (
        Density(whole, np.arange(d), value_histogram(log_likelihood_ratio(whole, rows)), 0.4),
        Density(
            whole.marginal(kept), kept, value_histogram(log_likelihood_ratio(whole.marginal(kept), rows[:, kept])), 0.6
        ),
        Remembered(rows, value_histogram(rng.exponential(size=500)), 0.8),
    )
    return MixtureModel(projection.standardised_by(constants), experts, followed, {**INFO, "dim": dim})


def make(kind: str) -> Model:
    if kind == "network":
        rng = np.random.default_rng(0)
        constants = Normaliser(rng.normal(size=DIM).astype(np.float32), np.ones(DIM, np.float32))
        return NetworkModel(initial_weights(DIM, seed=1), constants, INFO)
    return mixture_model() if kind == "mixture" else mixture_model(followed=False, dim=50)


def video(T: int = 40, C: int = 3, dim: int = DIM, seed: int = 0, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return (scale * rng.normal(size=(T, C, dim))).astype(np.float32), rng.random((T, C)) < 0.7
