"""The site's steps that all methods with a detector share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..core.histogram import score_histogram
from ..core.moments import Normaliser
from ..core.randomness import keyed_generator
from ..detector.network import Weights, weight_shapes
from ..detector.scoring import score_videos
from ..detector.source import SegmentSource, video_slices
from ..detector.training import SgdSettings, local_sgd
from ..errors import ClapError
from ..features.streaming import feature_moments
from ..federation.ask import State
from ..federation.messages import Message
from ..federation.site import Handler
from .plan import Plan, SiteData
from .rounds import global_weights, normaliser_of

__all__ = ["DetectorSite"]


class DetectorSite:
    """A site that trains the common detector on labels it makes itself.

    A method adds the steps that make ``state["labels"]``, float32 per segment in the order of the site's videos.

    Args:
        plan: the run.
        data: what the participant holds.
        sgd: optimiser settings of a round before any milestone.
        milestones: epochs, counted over the whole run, at which the learning rate falls to a tenth.
    """

    def __init__(self, plan: Plan, data: SiteData, sgd: SgdSettings, milestones: tuple[int, ...] = ()) -> None:
        self.plan, self.data, self.dim = plan, data, plan.dim
        self._sgd, self._milestones = sgd, milestones
        self.steps: dict[str, tuple[Handler, str]] = {
            "moments": (self._moments, "feature_moments"),
            "normalise": (self._normalise, "segment_count"),
            "train": (self._train, "model_update"),
            "calibrate": (self._calibrate, "score_histogram"),
        }
        self.slices = video_slices(data.entries)

    def source(self, state: Mapping[str, np.ndarray]) -> SegmentSource:
        """The site's segments, standardised as the federation agreed."""
        return SegmentSource(self.data.store, self.data.entries, self.normaliser(state))

    def normaliser(self, state: Mapping[str, np.ndarray]) -> Normaliser | None:
        """The common normaliser as this site knows it."""
        return normaliser_of(state)

    def scores(
        self, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray], dropout_round: int | None = None
    ) -> list[np.ndarray]:
        """s[t] of each of the site's videos in evaluation mode; with a round, in training mode (dropout on)."""
        rng = None
        if dropout_round is not None:
            rng = keyed_generator(self.plan.seed, dropout_round, self.data.participant, "scoring")
        normaliser, threads = self.normaliser(state), self.plan.threads
        return score_videos(weights, self.data.store, self.data.entries, normaliser, threads, rng)

    def before_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Called with the aggregated model before a round's local training; a method may change the labels."""

    def after_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Called with the site's own model after a round's local training."""

    def _moments(self, payload: Message, state: State) -> Message:
        moments = feature_moments(self.data.store, self.data.entries)
        if not (np.isfinite(moments.sum).all() and np.isfinite(moments.sumsq).all()):
            raise ClapError(
                f"{self.data.store.path / 'features.npy'}: participant '{self.data.participant}' holds NaN or infinite "
                "features; 'clap features info' tells where, extract or import those videos again"
            )
        return {"count": moments.count, "sum": moments.sum, "sumsq": moments.sumsq}

    def _normalise(self, payload: Message, state: State) -> Message:
        state["normaliser.mean"] = np.asarray(payload["mean"])
        state["normaliser.scale"] = np.asarray(payload["scale"])
        return {"count": len(self.source(state).present())}

    def _train(self, payload: Message, state: State) -> Message:
        weights, number = self._weights(payload), int(payload["round"])
        self.before_training(weights, number, state)
        source = self.source(state)
        rng = keyed_generator(self.plan.seed, number, self.data.participant, "training")
        result = local_sgd(weights, source, state["labels"], self._schedule(number), rng, self.plan.threads)
        self.after_training(result.weights, number, state)
        update = {f"update.{name}": result.weights[name] - weights[name] for name in weights}
        return {**update, "count": len(source.present()), "loss": result.loss}

    def _schedule(self, number: int) -> SgdSettings:
        done = (number - 1) * len(self._sgd.lr)
        lr = tuple(
            rate * 0.1 ** sum(milestone <= done + epoch for milestone in self._milestones)
            for epoch, rate in enumerate(self._sgd.lr)
        )
        return replace(self._sgd, lr=lr)

    def _calibrate(self, payload: Message, state: State) -> Message:
        scores = self.scores(self._weights(payload), state)
        return {"counts": score_histogram(np.concatenate(scores))}

    def _weights(self, payload: Message) -> Weights:
        """The model in a question, which must be one that takes this site's features."""
        weights = global_weights({name: np.asarray(value) for name, value in payload.items()})
        if {name: value.shape for name, value in weights.items()} != weight_shapes(self.dim):
            raise ClapError(
                f"participant '{self.data.participant}': the model sent to it is not one for features of {self.dim} "
                "dimensions; refused"
            )
        return weights
