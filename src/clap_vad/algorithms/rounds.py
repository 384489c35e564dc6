"""The coordinator's steps that all methods with a detector share. Each goes on from whatever the state holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.histogram import score_quantile
from ..core.moments import Moments, Normaliser
from ..detector.network import Weights, initial_weights
from ..federation.ask import Ask, State, Steps
from ..federation.messages import Message
from ..federation.strategy import Strategy
from .plan import Plan

__all__ = ["calibration", "global_weights", "normalisation", "normaliser_of", "quantiles", "training_rounds"]

_WEIGHTS = "weights."


def normalisation(plan: Plan, state: State) -> Steps:
    """Federated normalisation: summed moments up, the common mean and scale down; nothing under ``none``."""
    if plan.normalise == "none":
        return
    if "normaliser.mean" not in state:
        replies = yield Ask("moments", reply="feature_moments")
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
    return {name.removeprefix(_WEIGHTS): value for name, value in state.items() if name.startswith(_WEIGHTS)}


def training_rounds(plan: Plan, strategy: Strategy, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
    """Stage B: rounds of local SGD on pseudo-labels, then aggregation."""
    if "round" not in state:
        state["round"] = np.array(0)
        state.update({_WEIGHTS + name: value for name, value in initial_weights(plan.dim, plan.seed).items()})
    while state["round"] < plan.rounds:
        number = int(state["round"]) + 1
        started, up, down = time.perf_counter(), int(state["bytes_up"]), int(state["bytes_down"])
        weights = global_weights(state)
        payload: Message = {"round": number, **{_WEIGHTS + name: value for name, value in weights.items()}}
        replies = yield Ask("train", reply="model_update", payload=payload)
        messages = [reply.message for reply in replies]
        counts = [int(message["count"]) for message in messages]
        updates = [{name: np.asarray(message[f"update.{name}"]) for name in weights} for message in messages]
        weights = strategy.aggregate(weights, updates, counts)
        state.update({_WEIGHTS + name: value for name, value in weights.items()})
        state["round"] = np.array(number)
        losses = [float(message["loss"]) for message in messages]
        record = {
            "round": number,
            "loss": float(np.dot(losses, counts) / max(sum(counts), 1)),
            "participants": len(replies),
            "bytes_up": int(state["bytes_up"]) - up,
            "bytes_down": int(state["bytes_down"]) - down,
            "seconds": round(time.perf_counter() - started, 3),
        }
        log(record)


def calibration(state: State) -> Steps:
    """Quantiles of the final model's scores on all training segments, from summed histograms."""
    if "score_histogram" in state:
        return
    payload: Message = {_WEIGHTS + name: value for name, value in global_weights(state).items()}
    replies = yield Ask("calibrate", reply="score_histogram", payload=payload)
    state["score_histogram"] = np.sum([np.asarray(reply.message["counts"]) for reply in replies], axis=0)


def quantiles(state: Mapping[str, np.ndarray], levels: tuple[float, ...]) -> dict[str, float]:
    """Score at each level, from the summed histogram; empty where no segment was scored."""
    histogram = state["score_histogram"]
    return {str(level): score_quantile(histogram, level) for level in levels} if histogram.sum() else {}
