"""CLAP under differential privacy with the video as the privacy unit: a site's replies before noise is added."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Protocol

import numpy as np

from ..core.pseudo_labels import private_statistics as private
from ..core.pseudo_labels.federated_mixture import in_anomalous_component, responsibilities
from ..core.pseudo_labels.private_statistics import MOST_MEAN, MOST_SCALE, MOST_SIZE
from ..core.statistics.accounting import Terms
from ..detector.network import LAYERS, Weights
from ..detector.private_gradient import clipped_gradients
from ..detector.source import SegmentSource
from ..detector.training import SgdSettings
from ..errors import ClapError
from ..features.store.streaming import all_video_moments
from ..federation.ask import State
from ..federation.conversation import Turn
from ..federation.messages import ACKNOWLEDGEMENT, Message, schema
from ..federation.policy import RefusalError
from ..federation.privacy import KEY
from ..federation.program import Handler
from ..protection.noise import secret_generator
from .plan import Plan, SiteData
from .rounds import turn_of_rounds
from .sent import sent_array, sent_flag, sent_gaussians, sent_mixtures

__all__ = ["MIXTURE_STEPS", "LabellingSite", "PrivateSite"]

MIXTURE_STEPS = 4
"""Number of EM steps, from a fixed start."""

_MOST_WEIGHT = 1e6


class LabellingSite(Protocol):
    """Interface of a method's site that labels each video independently, with common statistics."""

    plan: Plan
    data: SiteData
    slices: list[slice]

    def source(self, state: Mapping[str, np.ndarray]) -> SegmentSource:
        """The site's segments, standardised."""

    def summaries(self, state: State) -> np.ndarray:
        """(V, 2) largest rise and entropy; also sets ``state["magnitude"]`` per segment."""

    def with_known_labels(self, predicted: np.ndarray) -> np.ndarray:
        """(V,) bool: known labels, otherwise predicted ones."""

    def make_labels(self, gaussians: np.ndarray, state: State) -> None:
        """Write pseudo-labels from the common density to ``state["labels"]``."""

    def scores_apart(self, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """s[t] of each video, computed separately."""

    def before_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Called before training; may change the labels."""

    def global_weights(self, payload: Message) -> Weights:
        """The model in a question."""


class PrivateSite:
    """The steps of a site under differential privacy.

    Args:
        site: site of the method.
        terms: privacy terms of the run.
        sgd: settings of the method; a step uses at most ``batch_size`` segments per video, and labels are refined as
            often as in rounds of ``len(sgd.lr)`` epochs.
    """

    def __init__(self, site: LabellingSite, terms: Terms, sgd: SgdSettings) -> None:
        self._site, self._terms, self._sgd = site, terms, sgd
        self._found: tuple[np.ndarray, np.ndarray] | None = (
            None  # cached for the next question: computing it reads all features
        )
        self._passes = max(1, round(len(sgd.lr) / terms.sampling))
        self.steps: dict[str, tuple[Handler, str]] = {
            "scales": (self._scales, "private_scales"),
            "moments": (self._moments, "private_moments"),
            "normalise": (self._normalise, ACKNOWLEDGEMENT),
            "summarise": (self._summarise, "private_centre"),
            "mixture": (self._mixture, "private_mixture"),
            "segregate": (self._segregate, "private_gaussian"),
            "label": (self._label, ACKNOWLEDGEMENT),
            "calibrate": (self._calibrate, "private_scores"),
        }
        training = tuple(f"train_{layers}" for layers in range(1, LAYERS + 1))
        self.order = (
            Turn(("scales",)),
            Turn(("moments",)),
            Turn(("normalise",), lasting=True),
            Turn(("summarise",)),
            Turn(("mixture",), MIXTURE_STEPS),
            Turn(("segregate",), lasting=True),
            Turn(("label",), lasting=True),
            turn_of_rounds(site.plan, site.data.participant, *training),
            Turn(("calibrate",)),
        )
        for layers in range(1, LAYERS + 1):
            self.steps[f"train_{layers}"] = (partial(self._train, layers), f"private_gradient_{layers}")

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """(V, D) mean and mean square over each video's regions; zeros for a video without a region."""
        data = self._site.data
        found = all_video_moments(data.store, data.entries)
        for entry, moments in zip(data.entries, found, strict=True):
            if not (np.isfinite(moments.sum).all() and np.isfinite(moments.sumsq).all()):
                raise ClapError(
                    f"{data.store.path / 'features.npy'}: video '{entry.video}' has NaN or infinite features; "
                    "extract or import it again"
                )
        count = np.array([max(moments.count, 1) for moments in found])[:, None]
        return np.stack([m.sum for m in found]) / count, np.stack([m.sumsq for m in found]) / count

    def _scales(self, payload: Message, state: State) -> Message:
        self._found = self._means()
        return _message("private_scales", private.scale_contributions(self._found[1]), self._site.plan.dim)

    def _moments(self, payload: Message, state: State) -> Message:
        found, self._found = self._found or self._means(), None
        scales = sent_array(payload, "scales", (self._site.plan.dim,), "float64", MOST_SIZE)
        contributions = private.moment_contributions(*found, scales)
        return _message("private_moments", contributions, self._site.plan.dim)

    def _normalise(self, payload: Message, state: State) -> Message:
        shape, limits = (self._site.plan.dim,), {"mean": MOST_MEAN, "scale": MOST_SCALE}
        mean, scale = (sent_array(payload, name, shape, most=most) for name, most in limits.items())
        if (scale < 0).any():
            raise RefusalError("refused a question: its 'scale' has numbers below 0")
        state["normaliser.mean"], state["normaliser.scale"] = mean, scale
        return {}

    def _pairs(self, state: State) -> np.ndarray:
        return private.summary_pairs(self._site.summaries(state), self._site.plan.dim)

    def _summarise(self, payload: Message, state: State) -> Message:
        return _message("private_centre", private.centre_contributions(self._pairs(state)))

    def _mixture(self, payload: Message, state: State) -> Message:
        mixture = sent_mixtures(payload, 1, MOST_SIZE)
        z = self._pairs(state) - sent_array(payload, "centre", (2,), "float64", MOST_SIZE)
        return _message("private_mixture", private.mixture_contributions(z, responsibilities(z, mixture)))

    def _segregate(self, payload: Message, state: State) -> Message:
        """The normal videos under the common mixture, and statistics of their magnitudes."""
        mixture, normal = sent_mixtures(payload, 1, MOST_SIZE), sent_flag(payload, "normal")
        z = self._pairs(state) - sent_array(payload, "centre", (2,), "float64", MOST_SIZE)
        predicted = in_anomalous_component(z, mixture, normal)
        anomalous = state["anomalous"] = self._site.with_known_labels(predicted)
        present = _present(self._site.source(state))
        parts = [part for part, odd in zip(self._site.slices, anomalous, strict=True) if not odd]
        m = [state["magnitude"][part][present[part]] / self._site.plan.dim for part in parts]
        m = [each for each in m if len(each)]
        means, squares = (np.array([np.power(each, power).mean() for each in m]) for power in (1, 2))
        return _message("private_gaussian", private.gaussian_contributions(means, squares))

    def _label(self, payload: Message, state: State) -> Message:
        self._site.make_labels(sent_gaussians(payload), state)
        return {}

    def _train(self, layers: int, payload: Message, state: State) -> Message:
        """One gradient of each sampled video; videos are sampled independently with the same probability.

        A video's random numbers depend only on the site's secret and the video, so other videos do not affect them.
        """
        weights, number = self._weights(payload), int(payload["round"])
        if number % self._passes == 0:  # as often as in rounds without differential privacy
            self._site.before_training(weights, number // self._passes, state)
        source, key = self._site.source(state), np.asarray(payload[KEY]).tobytes()
        present = _present(source)
        videos = []
        for entry, part in zip(self._site.data.entries, self._site.slices, strict=True):
            rng = secret_generator(key, entry.video)
            if rng.random() < self._terms.sampling:
                videos.append((part.start + np.flatnonzero(present[part]), rng))
        total = clipped_gradients(
            weights,
            source,
            state["labels"],
            videos,
            self._terms.clip,
            layers=layers,
            segments=self._sgd.batch_size,
            crops=self._sgd.crops,
            threads=self._site.plan.spec.threads,
        )
        return {f"gradient.{name}": value.astype(np.float32) for name, value in total.items()}

    def _calibrate(self, payload: Message, state: State) -> Message:
        scores = self._site.scores_apart(self._weights(payload), state)
        return _message("private_scores", private.score_contributions(scores))

    def _weights(self, payload: Message) -> Weights:
        """The model in a question; weights so large that a video could cause an overflow are refused."""
        weights = self._site.global_weights(payload)
        if not all(np.abs(value).max() <= _MOST_WEIGHT for value in weights.values()):  # NaN is refused too
            raise RefusalError(f"refused the received model: its weights are not finite, or above {_MOST_WEIGHT:g}")
        return weights


def _present(source: SegmentSource) -> np.ndarray:
    """(N,) bool: segments with a valid region."""
    present = np.zeros(len(source), dtype=bool)
    present[source.present()] = True
    return present


def _message(name: str, contributions: np.ndarray, dim: int = 0) -> Message:
    """The sum of contributions (V, k) as a message of this schema; the vector holds its entries in order."""
    total, message, start = contributions.sum(axis=0), Message(), 0
    for field, declared in schema(name).fields.items():
        shape = tuple(dim if isinstance(size, str) else size for size in declared.shape)
        stop = start + math.prod(shape)
        message[field], start = total[start:stop].reshape(shape), stop
    return message
