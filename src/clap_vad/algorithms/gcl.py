"""GCL: generative cooperative learning (Zaheer et al., CVPR 2022), in rounds.

An auto-encoder (generator) and the detector label every batch for each other. With pre-training (GCL_PT) the
auto-encoder is first trained alone on segments that change little; without (GCL_B, ``pretrain_rounds`` 0) both start
together. All constants are settings. ``docs/methods/gcl.md`` explains our choices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.statistics.randomness import keyed_generator
from ..detector.autoencoder import GENERATOR, generator_shapes, initial_generator
from ..detector.cooperative import Cooperation, cooperative_training, generator_training, reconstruction_errors
from ..detector.drift import Correction
from ..detector.network import Weights, initial_weights
from ..detector.training import TrainingResult
from ..errors import ClapError
from ..features.store.streaming import segment_changes
from ..federation.ask import Ask, State, Steps
from ..federation.conversation import Turn
from ..federation.messages import Message
from ..federation.strategies.fedavg import FedAvg
from .method import METHODS, option
from .plan import Plan, SiteData
from .rounds import (
    WEIGHTS,
    aggregated,
    calibration,
    contributions,
    global_weights,
    labelling,
    normalisation,
    set_weights,
    training_rounds,
)
from .sgd_method import SgdMethod
from .site import LABELLING, DetectorSite

__all__ = ["Gcl", "GclSite"]


@METHODS.register("gcl")
@dataclass(frozen=True)
class Gcl(SgdMethod):
    """Settings of GCL; both networks are trained with RMSprop."""

    trains_by_sgd = False

    lr: float = option(2e-5, "Learning rate of RMSprop.")
    momentum: float = option(0.6, "Momentum of RMSprop.")
    batch_size: int = option(8192, "Segments per step, drawn from all videos of the site.")
    local_epochs: int = option(1, "Passes over a site's segments per round.")
    pretrain_rounds: int = option(5, "First rounds, in which the generator trains alone. 0: GCL_B.")
    pretrain_share: float = option(
        0.7, "Part of a site's segments, those that change least, that the generator trains on then."
    )
    generator_threshold: float = option(
        1.0, "A segment is labelled anomalous if its error is this many deviations above the batch's mean."
    )
    detector_threshold: float = option(
        0.1, "A segment is anomalous to the generator if its score is this many deviations above the mean."
    )
    negative_from: int = option(11, "First round in which the detector's labels train the generator.")
    negative_learning: str = option(
        "on", "on: the generator maps anomalous segments to ones. off: it leaves them out.", ("on", "off")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pretrain_rounds < 0 or not 0 < self.pretrain_share <= 1:
            raise ClapError("--pretrain-rounds must be at least 0, --pretrain-share above 0 and at most 1")
        if self.nesterov == "on":
            raise ClapError("--nesterov on: gcl trains with RMSprop, which has no Nesterov momentum; remove the option")

    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """Pre-training of the generator, cooperative rounds, then the alarm threshold."""
        yield from normalisation(plan, state)
        yield from labelling(state)
        if not global_weights(state):
            set_weights(state, initial_weights(plan.dim, plan.spec.seed) | initial_generator(plan.dim, plan.spec.seed))
            state["pretrained"] = np.array(0)
        yield from self._pretraining(state)
        yield from training_rounds(plan, state, log, GclSite.update)
        if plan.spec.rounds:
            yield from calibration(state)

    def _pretraining(self, state: State) -> Steps:
        while state["pretrained"] < self.pretrain_rounds:
            number = int(state["pretrained"]) + 1
            generator = {k: v for k, v in global_weights(state).items() if k.startswith(GENERATOR)}
            question: State = {}
            set_weights(question, generator)
            payload: Message = {"pretrain": number, **question}
            segments = int(state["segments"])
            replies = yield Ask("pretrain", "generator_update", payload, lasting=False, optional=True, total=segments)
            aggregated(FedAvg(), generator, contributions(replies, generator), state, segments)
            state["pretrained"] = np.array(number)

    def final_question(self, state: State) -> Message:
        """Both networks."""
        return {WEIGHTS + name: value for name, value in global_weights(state).items()}

    def site(self, plan: Plan, data: SiteData) -> GclSite:
        """The site's side."""
        return GclSite(self, plan, data)


class GclSite(DetectorSite):
    """Labels exist only within a batch; the site sends a count, then updates of both networks."""

    update = "cooperative_update"

    def __init__(self, settings: Gcl, plan: Plan, data: SiteData) -> None:
        pretraining = (Turn(("pretrain",), settings.pretrain_rounds, "pretrain"),) if settings.pretrain_rounds else ()
        super().__init__(plan, data, settings.sgd(), settings.milestones(), (LABELLING, *pretraining))
        self._settings = settings
        self.shapes |= generator_shapes(plan.dim)
        self.steps["label"] = (self._count, "segment_count")
        self.steps["pretrain"] = (self._pretrain, "generator_update")

    def _count(self, payload: Message, state: State) -> Message:
        return {"count": len(self.source(state).present())}

    def _pretrain(self, payload: Message, state: State) -> Message:
        """Train only the generator, on the segments whose features change least."""
        weights, number = self.global_weights(payload, generator_shapes(self.dim)), int(payload["pretrain"])
        source, plan = self.source(state), self.plan
        present = source.present()
        changes = segment_changes(self.data.store, self.data.entries, self.normaliser(state))[present]
        calm = present[changes <= np.quantile(changes, self._settings.pretrain_share)] if len(present) else present
        rng = keyed_generator(plan.spec.seed, number, self.data.participant, "pretraining")
        result = generator_training(weights, source, calm, self._settings.sgd(), rng, plan.spec.threads)
        update = {f"update.{name}": result.weights[name] - weights[name] for name in weights}
        return {**update, "count": len(calm), "loss": result.loss}

    def local_training(
        self, weights: Weights, number: int, state: Mapping[str, np.ndarray], correction: Correction | None
    ) -> TrainingResult:
        """Local training of both networks in one round."""
        rng = keyed_generator(self.plan.spec.seed, number, self.data.participant, "training")
        settings = self._settings
        cooperation = Cooperation(
            settings.generator_threshold,
            settings.detector_threshold if number >= settings.negative_from else math.inf,
            settings.negative_learning == "on",
        )
        arguments = (cooperation, self.schedule(number), rng, self.plan.spec.threads, correction)
        return cooperative_training(weights, self.source(state), self._normal(), *arguments)

    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The generator's labels with all of the site's segments as one batch."""
        weights = self.global_weights(question)
        source = self.source(state)
        errors, present = reconstruction_errors(weights, source, self.plan.spec.threads), source.present()
        if len(present) == 0:
            return np.zeros_like(errors)
        limit = errors[present].mean() + self._settings.generator_threshold * errors[present].std()
        return ((errors > limit) & ~self._normal()).astype(np.float32)

    def _normal(self) -> np.ndarray:
        """(N,) bool: segments of videos labelled normal."""
        return np.repeat([label == 0 for label in self.data.labels], [entry.segments for entry in self.data.entries])
