"""Densities as a model: how surprising each crop is, what that says of the object, the segment, the moment.

One file describes three things: the model of a whole federation, that of a home adapted to its own camera, and what
both have in common. ``docs/methods/comet.md`` derives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...core.density.gaussian_mixture import Mixture
from ...core.density.memory import NEIGHBOURS, Memory
from ...core.density.projection import Projection
from ...core.density.score_aggregation import WITHIN, along_objects, over_crops, over_time, reach_of, squashed
from ...core.density.surprise import SURPRISE_BINS, Surprise
from ...core.events.detection import ASSUMED_FPS
from ...core.statistics.moments import Normaliser
from ...errors import ClapError
from ...features.roles import SAME_WITHIN
from ..model import MODELS, Model

__all__ = ["BROAD_VARIANCE", "SMOOTHING_SECONDS", "Density", "MixtureModel", "Remembered", "log_likelihood_ratio"]

BROAD_VARIANCE = 16.0
"""Of the broad Gaussian that a density is compared with, in standardised units."""

SMOOTHING_SECONDS = 4 / 3


def log_likelihood_ratio(mixture: Mixture, rows: np.ndarray) -> np.ndarray:
    """``ln q - ln p`` of (n, d) rows, (n,): how much likelier than the mixture a broad Gaussian q makes them.

    Less than ``-ln p`` alone it rewards mere distance, of which slips of a tracker have plenty.
    """
    return -mixture.log_density(rows) - np.square(rows.astype(np.float64)).sum(axis=1) / (2 * BROAD_VARIANCE)


@dataclass(frozen=True)
class Density:
    """A mixture's say in a crop's surprise.

    Attributes:
        mixture: of some of the d dimensions.
        columns: (m,) int64, which.
        counts: (SURPRISE_BINS,) int64, what the log-likelihood ratio is compared with.
        share: its weight, beside those of others.
    """

    mixture: Mixture
    columns: np.ndarray
    counts: np.ndarray
    share: float

    def surprise(self, rows: np.ndarray) -> np.ndarray:
        """u of (n, d) rows."""
        return self._surprise(log_likelihood_ratio(self.mixture, rows[:, self.columns]))

    @cached_property
    def _surprise(self) -> Surprise:
        return Surprise(self.counts)


@dataclass(frozen=True)
class Remembered:
    """A memory's say; the rows are a home's own and never leave it.

    Attributes:
        rows: (n, d) float32, more than 10.
        counts: (SURPRISE_BINS,) int64, what the distance is compared with.
        share: its weight, beside those of others.
    """

    rows: np.ndarray
    counts: np.ndarray
    share: float

    def surprise(self, rows: np.ndarray) -> np.ndarray:
        """u of (n, d) rows."""
        return self._surprise(self._memory.distances(rows))

    @cached_property
    def _memory(self) -> Memory:
        return Memory(self.rows)

    @cached_property
    def _surprise(self) -> Surprise:
        return Surprise(self.counts)


@MODELS.register("mixture")
@dataclass(frozen=True)
class MixtureModel(Model):
    """Densities and perhaps a memory.

    Attributes:
        projection: from features to rows.
        experts: at least one; a crop's surprise is their mean, weighted by their shares.
        followed: see :class:`~clap_vad.features.roles.Roles`.
        info: see :class:`~clap_vad.detector.model.Model`.
    """

    kind = "mixture"

    projection: Projection
    experts: tuple[Density | Remembered, ...]
    followed: bool
    info: dict[str, Any]

    @property
    def dim(self) -> int:
        return int(self.info["dim"])

    def evidence(self, x: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """u of every crop, 0 for an absent one, NaN for one whose features are not finite."""
        present = np.ones(x.shape[:2], bool) if valid is None else np.array(valid)
        rows = self.projection.rows(np.asarray(x)[present])
        finite = np.isfinite(rows).all(axis=1)
        found = np.zeros(x.shape[:2])
        if len(rows):
            known, total = rows[finite], sum(expert.share for expert in self.experts)
            judged = np.full(len(rows), np.nan)
            judged[finite] = sum(expert.share * expert.surprise(known) for expert in self.experts) / total
            found[present] = judged
        return found

    def scores(
        self, evidence: np.ndarray, valid: np.ndarray | None, fps: float | None, causal: bool = False
    ) -> np.ndarray:
        along = self._along(evidence, valid, causal)
        return squashed(over_time(over_crops(along, valid), self._sigma(fps), causal))

    def look_back(self, fps: float | None) -> int:
        """As far as the smoothing reaches, and from its far end as far as an object tells of itself.

        Whether a crop was another object then is seen in the segments between.
        """
        return reach_of(self._sigma(fps)) + (WITHIN if self.followed else 0)

    def _sigma(self, fps: float | None) -> float:
        """Of the smoothing, in segments."""
        return SMOOTHING_SECONDS * (fps or ASSUMED_FPS) / int(self.info["segment_frames"])

    def contributions(self, evidence: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        return squashed(self._along(super().contributions(evidence, valid), valid, False))

    def _along(self, evidence: np.ndarray, valid: np.ndarray | None, causal: bool) -> np.ndarray:
        if not self.followed or valid is None:
            return evidence
        found = along_objects(evidence, valid, SAME_WITHIN, causal)
        return np.where(np.isnan(evidence), np.nan, found)  # not one more slip to be left out

    def arrays(self) -> dict[str, np.ndarray]:
        named = {"columns": self.projection.columns.astype(np.int64)}
        if self.projection.matrix is not None:
            named["projection"] = self.projection.matrix
        if self.projection.normaliser is not None:
            named |= {"mean": self.projection.normaliser.mean, "scale": self.projection.normaliser.scale}
        for number, expert in enumerate(self.experts):
            parts = {"counts": expert.counts.astype(np.int64)}
            if isinstance(expert, Remembered):
                parts["rows"] = expert.rows
            else:
                mixture = expert.mixture
                parts |= {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
                parts["columns"] = expert.columns.astype(np.int64)
            named |= {f"expert{number}.{name}": value for name, value in parts.items()}
        return {name: np.ascontiguousarray(value) for name, value in named.items()}

    def description(self) -> dict[str, Any]:
        return {"shares": [expert.share for expert in self.experts], "followed": self.followed}

    @classmethod
    def restored(cls, arrays: dict[str, np.ndarray], info: dict[str, Any], folder: Path) -> MixtureModel:
        try:
            shares, followed, dim, frames = (
                info.pop("shares"),
                info.pop("followed"),
                info["dim"],
                info["segment_frames"],
            )
            projection = Projection(
                arrays["columns"], arrays.get("projection"), Normaliser(arrays["mean"], arrays["scale"])
            )
            experts = tuple(_expert(arrays, number, float(share)) for number, share in enumerate(shares))
            told = type(dim) is int and type(frames) is int and frames > 0 and type(followed) is bool
        except (KeyError, TypeError, ValueError, AttributeError):
            told = False
        if not told:
            raise ClapError(f"{folder}: its files lack parts of a mixture model; restore them or train again")
        model = cls(projection, experts, followed, info)
        if not experts or not _fits(model, dim):
            raise ClapError(f"{folder / 'model.safetensors'}: not the densities of a model of this project")
        return model


def _expert(arrays: dict[str, np.ndarray], number: int, share: float) -> Density | Remembered:
    named = {name.split(".")[1]: value for name, value in arrays.items() if name.startswith(f"expert{number}.")}
    if "rows" in named:
        return Remembered(named["rows"], named["counts"], share)
    mixture = Mixture(named["weights"], named["means"], named["covariances"])
    return Density(mixture, named["columns"], named["counts"], share)


def _fits(model: MixtureModel, dim: int) -> bool:
    """Whether the arrays are of shapes, types and values that belong together."""
    projection, constants = model.projection, model.projection.normaliser
    if not _within(projection.columns, dim) or constants is None:
        return False
    if projection.matrix is not None and not _numbers(projection.matrix, (len(projection.columns), None)):
        return False
    d = projection.dim
    return (
        _numbers(constants.mean, (d,))
        and _numbers(constants.scale, (d,))
        and all(_expert_fits(expert, d) for expert in model.experts)
    )


def _expert_fits(expert: Density | Remembered, d: int) -> bool:
    counts = expert.counts
    if counts.shape != (SURPRISE_BINS,) or counts.dtype != np.int64 or (counts < 0).any():
        return False
    if not 0 < expert.share < np.inf:
        return False
    if isinstance(expert, Remembered):
        return _numbers(expert.rows, (None, d)) and len(expert.rows) > NEIGHBOURS
    return expert.mixture.sound() and _within(expert.columns, d) and len(expert.columns) == expert.mixture.dim


def _numbers(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    """Whether it is finite float32 of this shape; a None stands for any size but 0."""
    fits = array.ndim == len(shape) and all(
        n == m or (m is None and n > 0) for n, m in zip(array.shape, shape, strict=True)
    )
    return fits and array.dtype == np.float32 and bool(np.isfinite(array).all())


def _within(columns: np.ndarray, d: int) -> bool:
    """Whether these are columns of so many."""
    return (
        columns.ndim == 1
        and columns.dtype == np.int64
        and len(columns) > 0
        and bool(columns.min() >= 0 and columns.max() < d)
    )
