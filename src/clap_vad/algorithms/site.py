"""The site's steps that are common to all methods with a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from ..core.statistics.histogram import score_histogram
from ..core.statistics.moments import Moments, Normaliser
from ..core.statistics.randomness import keyed_generator
from ..detector.drift import Correction
from ..detector.models.network import NetworkModel
from ..detector.network import Weights, detector_weights, weight_shapes
from ..detector.personalised import PersonalisedModels
from ..detector.scoring import score_videos
from ..detector.source import SegmentSource
from ..detector.training import SgdSettings, TrainingResult, local_sgd
from ..errors import ClapError
from ..features.store.streaming import feature_moments
from ..federation.ask import State
from ..federation.conversation import Turn
from ..federation.messages import Message
from ..federation.policy import RefusalError
from .method_site import MethodSite
from .plan import Plan, SiteData
from .rounds import WEIGHTS, global_weights, normaliser_of, turn_of_rounds
from .sent import sent_array, sent_normaliser

__all__ = ["LABELLING", "DetectorSite"]

LABELLING = Turn(("label",), lasting=True)
"""Every site makes its labels once."""


class DetectorSite(MethodSite):
    """A site that trains the common detector on its own pseudo-labels.

    A method adds the steps that make ``state["labels"]``, float32 per segment in the order of the site's videos. A
    method with another kind of training overrides :meth:`local_training`.

    Args:
        plan: the run.
        data: the participant's data.
        sgd: optimiser settings of a round before any milestone.
        milestones: epochs, counted over the whole run, at which the learning rate is divided by 10.
        labelling: questions between normalisation and training rounds.
    """

    update: ClassVar[str] = "model_update"
    """Schema of the update, unless the strategy requires another."""

    def __init__(
        self,
        plan: Plan,
        data: SiteData,
        sgd: SgdSettings,
        milestones: tuple[int, ...] = (),
        labelling: tuple[Turn, ...] = (LABELLING,),
    ) -> None:
        super().__init__(plan, data)
        self._sgd, self._milestones = sgd, milestones
        self.shapes = weight_shapes(plan.dim)
        self._own: Moments | None = None  # cached for the next question: computing it reads all features
        self.steps |= {
            "moments": (self._moments, "feature_moments"),
            "normalise": (self._normalise, "segment_count"),
            "train": (self._train, plan.strategy.reply or self.update),
            "calibrate": (self._calibrate, "score_histogram"),
        }
        normalisation = (Turn(("moments",)), Turn(("normalise",), lasting=True))
        training = (turn_of_rounds(plan, data.participant, "train"), Turn(("calibrate",)))
        self.order = (
            *(normalisation if plan.spec.normalise != "none" else ()),
            *labelling,
            *(training if plan.spec.rounds else ()),
        )

    def source(self, state: Mapping[str, np.ndarray]) -> SegmentSource:
        """The site's segments, standardised with the common constants."""
        return SegmentSource(self.data.store, self.data.entries, self.normaliser(state))

    def normaliser(self, state: Mapping[str, np.ndarray]) -> Normaliser | None:
        """The common normaliser in this site's state."""
        return normaliser_of(state)

    def scores(
        self, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray], number: int, dropout: bool = False
    ) -> list[np.ndarray]:
        """s[t] of each of the site's videos in a round, from as many regions as training uses.

        ``dropout`` enables dropout (training mode).
        """
        if self.plan.spec.privacy is not None:
            return self.scores_apart(weights, state)
        key = (self.plan.spec.seed, number, self.data.participant)
        return score_videos(
            weights,
            self.data.store,
            self.data.entries,
            self.normaliser(state),
            self.plan.spec.threads,
            keyed_generator(*key, "scoring") if dropout else None,
            (self._sgd.crops, keyed_generator(*key, "scored crops")) if self._sgd.crops else None,
        )

    def scores_apart(self, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """s[t] of each video, computed separately: in a shared batch one video can change others' last digits."""
        store, normaliser, threads = self.data.store, self.normaliser(state), self.plan.spec.threads
        return [score_videos(weights, store, [entry], normaliser, threads)[0] for entry in self.data.entries]

    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The labels with which training under this model would start."""
        return state["labels"]

    def personalised(
        self, question: Message, state: Mapping[str, np.ndarray], info: dict[str, Any]
    ) -> PersonalisedModels:
        """The detector, the same for all videos."""
        sent = detector_weights(global_weights({name: np.asarray(value) for name, value in question.items()}))
        weights = self.global_weights({WEIGHTS + name: value for name, value in sent.items()}, weight_shapes(self.dim))
        return PersonalisedModels(NetworkModel(weights, self.normaliser(state), info))

    def with_known_labels(self, predicted: np.ndarray) -> np.ndarray:
        """Anomalous videos, (V,) bool: by their label if there is one, otherwise as ``predicted``."""
        known = self.data.labels
        return np.array([bool(own if label is None else label) for own, label in zip(predicted, known, strict=True)])

    def local_training(
        self, weights: Weights, number: int, state: Mapping[str, np.ndarray], correction: Correction | None
    ) -> TrainingResult:
        """Local training in one round, from the global weights."""
        rng = keyed_generator(self.plan.spec.seed, number, self.data.participant, "training")
        settings = self.schedule(number)
        source = self.source(state)
        return local_sgd(weights, source, state["labels"], settings, rng, self.plan.spec.threads, correction=correction)

    def before_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Called with the aggregated model before a round's local training; a method may change the labels."""

    def after_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Called with the site's own model after a round's local training."""

    def _feature_moments(self) -> Moments:
        if self._own is not None:
            return self._own
        moments = feature_moments(self.data.store, self.data.entries)
        if not (np.isfinite(moments.sum).all() and np.isfinite(moments.sumsq).all()):
            raise ClapError(
                f"{self.data.store.path / 'features.npy'}: participant '{self.data.participant}' has NaN or infinite "
                "features; 'clap features info' lists them; extract or import those videos again"
            )
        self._own = moments
        return moments

    def _moments(self, payload: Message, state: State) -> Message:
        moments = self._feature_moments()
        return {"count": moments.count, "sum": moments.sum, "sumsq": moments.sumsq}

    def _normalise(self, payload: Message, state: State) -> Message:
        sent = sent_normaliser(payload, self._feature_moments())
        state["normaliser.mean"], state["normaliser.scale"] = sent.mean, sent.scale
        return {"count": len(self.source(state).present())}

    def _train(self, payload: Message, state: State) -> Message:
        weights, number, strategy = self.global_weights(payload), int(payload["round"]), self.plan.strategy
        self.before_training(weights, number, state)
        result = self.local_training(weights, number, state, strategy.correction(payload, state))
        self.after_training(result.weights, number, state)
        update = {name: result.weights[name] - weights[name] for name in weights}
        extra = strategy.report(payload, state, update, result.travel)
        count = len(self.source(state).present())
        return {**{f"update.{name}": u for name, u in update.items()}, **extra, "count": count, "loss": result.loss}

    def schedule(self, number: int) -> SgdSettings:
        """Optimiser settings of a round: learning rates by milestones, and fewer epochs if the site is a straggler."""
        done = (number - 1) * len(self._sgd.lr)
        lr = tuple(
            rate * 0.1 ** sum(milestone <= done + epoch for milestone in self._milestones)
            for epoch, rate in enumerate(self._sgd.lr)
        )
        return replace(self._sgd, lr=self.plan.spec.rates(lr, self.data.participant, number))

    def _calibrate(self, payload: Message, state: State) -> Message:
        weights, normaliser = self.global_weights(payload, weight_shapes(self.dim)), self.normaliser(state)
        scores = score_videos(weights, self.data.store, self.data.entries, normaliser, self.plan.spec.threads)
        return {"counts": score_histogram(np.concatenate(scores))}

    def global_weights(self, payload: Message, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Weights:
        """The model in a question, checked against these shapes (by default all weights that the method trains)."""
        weights = global_weights({name: np.asarray(value) for name, value in payload.items()})
        if {name: value.shape for name, value in weights.items()} != (shapes or self.shapes):
            raise RefusalError(
                f"participant '{self.data.participant}': refused the received model: it does not match features of "
                f"{self.dim} dimensions"
            )
        for entry in payload:  # arrays of the model, and the strategy's arrays of the same shapes
            if (shape := self.shapes.get(entry.partition(".")[2])) is not None:
                sent_array(payload, entry, shape)
        return weights
