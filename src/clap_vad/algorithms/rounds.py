"""The coordinator's steps that all methods with a detector share. Each continues from the state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.statistics.histogram import bounded_sum, score_quantile
from ..core.statistics.moments import Moments, Normaliser
from ..detector.network import Weights, detector_weights, initial_weights
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.conversation import Turn
from ..federation.coordinator import ANSWERED
from ..federation.left_out import left_out
from ..federation.messages import Message
from ..federation.strategy import Contribution, Strategy
from .plan import Plan

__all__ = [
    "WEIGHTS",
    "RoundMeter",
    "aggregated",
    "begin_training",
    "calibration",
    "contributions",
    "detector_question",
    "global_weights",
    "labelling",
    "normalisation",
    "normaliser_of",
    "quantiles",
    "set_weights",
    "training_rounds",
    "turn_of_rounds",
]

WEIGHTS = "weights."
"""Entries of states and messages that hold the global model begin with it."""

_LONGEST_STEP = 10.0
"""Largest change of the model in a round, as a multiple of its norm."""


def normalisation(plan: Plan, state: State) -> Steps:
    """Collect summed moments, send the common mean and scale; nothing under ``none``."""
    if plan.spec.normalise == "none":
        return
    if "normaliser.mean" not in state:
        replies = yield Ask("moments", reply="feature_moments", lasting=False)
        messages = [reply.message for reply in replies]
        parts = [Moments(int(m["count"]), np.asarray(m["sum"]), np.asarray(m["sumsq"])) for m in messages]
        normaliser = Normaliser.from_moments(Moments.total(parts, plan.dim))
        state["normaliser.mean"], state["normaliser.scale"] = normaliser.mean, normaliser.scale
    if "normaliser.known" not in state:
        payload: Message = {"mean": state["normaliser.mean"], "scale": state["normaliser.scale"]}
        yield Ask("normalise", reply="segment_count", payload=payload)
        state["normaliser.known"] = np.array(True)


def normaliser_of(state: Mapping[str, np.ndarray]) -> Normaliser | None:
    """The common normaliser, or None."""
    if "normaliser.mean" not in state:
        return None
    return Normaliser(state["normaliser.mean"], state["normaliser.scale"])


def global_weights(state: Mapping[str, np.ndarray]) -> Weights:
    """The global model in the state."""
    return {name.removeprefix(WEIGHTS): value for name, value in state.items() if name.startswith(WEIGHTS)}


def detector_question(state: Mapping[str, np.ndarray]) -> Message:
    """The global detector, for a site that scores videos with it."""
    return {WEIGHTS + name: value for name, value in detector_weights(global_weights(state)).items()}


def set_weights(state: State, weights: Mapping[str, np.ndarray]) -> None:
    """Make these the global model."""
    state.update({WEIGHTS + name: value for name, value in weights.items()})


def labelling(state: State, payload: Message | None = None) -> Steps:
    """Every site makes its labels locally and sends its number of training segments; nothing if that is done."""
    if "segments" not in state:
        replies = yield Ask("label", reply="segment_count", payload=payload or {})
        state["segments"] = np.array(sum(int(reply.message["count"]) for reply in replies))


def begin_training(plan: Plan, state: State) -> None:
    """Before the first round: round 0, and the detector's initial weights unless there are others."""
    if "round" not in state:
        state["round"] = np.array(0)
        if not global_weights(state):
            set_weights(state, initial_weights(plan.dim, plan.spec.seed))


class RoundMeter:
    """The cost of a round, measured from the creation of this object.

    Args:
        state: of the coordinator.
    """

    def __init__(self, state: State) -> None:
        self._state, self._started = state, time.perf_counter()
        self._out = left_out(state)
        self._up, self._down = int(state["bytes_up"]), int(state["bytes_down"])

    def record(self, number: int, asked: int, **figures: float) -> dict[str, Any]:
        """The round's line of ``rounds.jsonl``; ``asked`` counts its participants if the state does not.

        It names the participants that were left out of the run in this round, and why.
        """
        out = {name: why for name, why in left_out(self._state).items() if name not in self._out}
        return {
            "round": number,
            **figures,
            "participants": int(self._state.get(ANSWERED, np.ones(asked)).sum()),
            "bytes_up": int(self._state["bytes_up"]) - self._up,
            "bytes_down": int(self._state["bytes_down"]) - self._down,
            "seconds": round(time.perf_counter() - self._started, 3),
            **({"left_out": out} if out else {}),
        }


def training_rounds(
    plan: Plan, state: State, log: Callable[[dict[str, Any]], None], update: str = "model_update"
) -> Steps:
    """Stage B: rounds of local training on pseudo-labels, then aggregation by the plan's strategy.

    Args:
        plan: the run.
        state: may hold the weights to begin with; the detector's initial ones otherwise.
        log: called with one record per round.
        update: schema of the sites' replies, unless the strategy needs more.
    """
    begin_training(plan, state)
    strategy = plan.strategy
    while state["round"] < plan.spec.rounds:
        number = int(state["round"]) + 1
        meter = RoundMeter(state)
        weights = global_weights(state)
        payload: Message = {"round": number, **{WEIGHTS + name: value for name, value in weights.items()}}
        payload |= strategy.question(weights, state)
        segments = int(state.get("segments", np.array(0)))
        replies = yield Ask(
            "train",
            strategy.reply or update,
            payload,
            targets=plan.drawn(number),
            lasting=False,
            optional=True,
            total=segments,
        )
        given = contributions(replies, weights)
        counts = [contribution.count for contribution in given]
        # A site that joined after the labels were made is not in the sum of segments.
        total = max(segments, sum(counts))
        taken = aggregated(strategy, weights, given, state, total)
        state["round"] = np.array(number)
        losses = [float(reply.message["loss"]) for reply in replies]
        figures = {"loss": float(np.dot(losses, counts) / max(sum(counts), 1))} if replies else {}
        log(meter.record(number, len(replies), **figures, **({} if taken else {"skipped": 1})))


def contributions(replies: Sequence[Reply], weights: Mapping[str, np.ndarray]) -> list[Contribution]:
    """The contributions of a round's participants to the model with these weights."""
    return [
        Contribution(
            int(reply.message["count"]),
            {name: np.asarray(reply.message[f"update.{name}"]) for name in weights},
            reply.message,
        )
        for reply in replies
    ]


def aggregated(
    strategy: Strategy,
    weights: Mapping[str, np.ndarray],
    given: Sequence[Contribution],
    state: State,
    total: int,
) -> bool:
    """Apply a round's step, if there is one; returns whether it was applied.

    A step that is not finite, or longer than ten times the model's norm, is not applied. No training produces it, but
    a single site could: under masks, or with fewer than three sites, where the faulty one cannot be found. The model
    and the strategy's state stay unchanged.
    """
    if not given:
        return False
    after = dict(state)
    moved = strategy.aggregate(weights, given, after, total)
    if not _bounded(weights, moved):
        return False
    state.update(after)
    set_weights(state, moved)
    return True


def _bounded(weights: Mapping[str, np.ndarray], moved: Mapping[str, np.ndarray]) -> bool:
    def norm(arrays: Iterable[np.ndarray]) -> float:
        return float(np.sqrt(sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)))

    step = norm(np.asarray(moved[name], np.float64) - value for name, value in weights.items())
    return bool(step <= _LONGEST_STEP * norm(weights.values()))  # NaN is not


def turn_of_rounds(plan: Plan, participant: str, *steps: str, before: int = 0) -> Turn:
    """At a site: these steps, once in each round for which it is drawn, and ``before`` times before the first."""
    drawn = {number: plan.drawn(number) for number in range(1, plan.spec.rounds + 1)}
    left_out = frozenset(number for number, names in drawn.items() if names is not None and participant not in names)
    return Turn(steps, plan.spec.rounds + before, "round", first=1 - before, left_out=left_out)


def calibration(state: State) -> Steps:
    """Quantiles of the final model's scores on all training segments, from summed histograms.

    No single site decides the highest quantiles, except under masks, where only the sum is known.
    """
    if "score_histogram" in state:
        return
    replies = yield Ask("calibrate", reply="score_histogram", payload=detector_question(state), lasting=False)
    state["score_histogram"] = bounded_sum(np.stack([np.asarray(reply.message["counts"]) for reply in replies]))


def quantiles(state: Mapping[str, np.ndarray], levels: tuple[float, ...]) -> dict[str, float]:
    """Score at each level, from the summed histogram; empty if no segment was scored."""
    histogram = state["score_histogram"]
    return {str(level): score_quantile(histogram, level) for level in levels} if histogram.sum() else {}
