"""A run under differential privacy with the video as its unit: the coordinator's questions.

What the usual form of a method sends as it is, this form sends as a noisy sum over videos of contributions bounded one
by one (:mod:`clap_vad.core.private_statistics`). Every answer depends on each video by itself and on what was released
before. ``docs/privacy.md`` says what is promised and what accuracy it costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import private_statistics as private
from ..core.accounting import Terms
from ..core.federated_mixture import Mixtures, normal_component
from ..core.histogram import finer
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.coordinator import ANSWERED
from ..federation.messages import ACKNOWLEDGEMENT, Message, schema
from ..federation.strategy import Contribution
from .plan import Plan
from .rounds import begin_training, drawn_participants, global_weights, set_weights

__all__ = ["STATISTICS", "private_steps"]

_MIXTURE_STEPS = 4
STATISTICS = 5 + _MIXTURE_STEPS
"""Noisy statistics of a run: scales, moments, centre, steps of EM, Gaussian, scores."""
_OURS = "private."
"""Entries of the coordinator's state begin with it."""


def private_steps(
    plan: Plan,
    terms: Terms,
    state: State,
    log: Callable[[dict[str, Any]], None],
    normal_cluster: str,
    lr: float,
    momentum: float,
) -> Steps:
    """Normalisation, segregation, rounds of one step each, the alarm threshold: each goes on from the state.

    Args:
        plan: the run; always normalised, since all bounds are in standardised units.
        terms: of its privacy.
        state: of the coordinator.
        log: takes one record a round.
        normal_cluster: which component of the mixture is normal.
        lr, momentum: of the step that a round makes.
    """
    yield from _normalisation(state)
    yield from _segregation(state, plan.dim, normal_cluster)
    yield from _rounds(plan, terms, state, log, lr, momentum)
    if "score_histogram" not in state:
        payload: Message = {f"weights.{name}": value for name, value in global_weights(state).items()}
        bins = _total((yield Ask("calibrate", "private_scores", payload, lasting=False)), "private_scores")
        state["score_histogram"] = finer(np.maximum(bins, 0.0))


def _normalisation(state: State) -> Steps:
    if _OURS + "scales" not in state:
        total = _total((yield Ask("scales", "private_scales", lasting=False)), "private_scales")
        state[_OURS + "scales"] = private.scales_from(total)
    scales = state[_OURS + "scales"]
    if "normaliser.mean" not in state:
        replies = yield Ask("moments", "private_moments", {"scales": scales}, lasting=False)
        videos, normaliser = private.normaliser_from(_total(replies, "private_moments"), scales)
        state["normaliser.mean"], state["normaliser.scale"] = normaliser.mean, normaliser.scale
        state[_OURS + "videos"] = np.array(videos)
    if "normaliser.known" not in state:
        known: Message = {"mean": state["normaliser.mean"], "scale": state["normaliser.scale"]}
        yield Ask("normalise", ACKNOWLEDGEMENT, known)
        state["normaliser.known"] = np.array(True)


def _segregation(state: State, dim: int, normal_cluster: str) -> Steps:
    if _OURS + "centre" not in state:
        total = _total((yield Ask("summarise", "private_centre", lasting=False)), "private_centre")
        state[_OURS + "centre"] = private.read_centre(total)
        _keep(private.first_mixture(), 0, state)
    while (step := int(state[_OURS + "step"])) < _MIXTURE_STEPS:
        total = _total((yield Ask("mixture", "private_mixture", _mixture(state), lasting=False)), "private_mixture")
        _keep(private.next_mixture(total), step + 1, state)
    if "gaussians" not in state:
        normal = normal_component(_kept(state), round(float(state[_OURS + "videos"])), normal_cluster)
        replies = yield Ask("segregate", "private_gaussian", {**_mixture(state), "normal": normal})
        state["gaussians"] = np.array([private.read_gaussian(_total(replies, "private_gaussian"), dim)])
    if _OURS + "labelled" not in state:
        yield Ask("label", ACKNOWLEDGEMENT, {"gaussians": state["gaussians"]})
        state[_OURS + "labelled"] = np.array(True)


def _rounds(
    plan: Plan, terms: Terms, state: State, log: Callable[[dict[str, Any]], None], lr: float, momentum: float
) -> Steps:
    """Each round one step of SGD with momentum on the noisy mean of clipped gradients, by way of the strategy."""
    begin_training(plan, state)
    while state["round"] < plan.rounds:
        number = int(state["round"]) + 1
        started, up, down = time.perf_counter(), int(state["bytes_up"]), int(state["bytes_down"])
        weights = global_weights(state)
        payload: Message = {"round": number, **{f"weights.{name}": value for name, value in weights.items()}}
        replies = yield Ask(
            "train", "private_gradient", payload, targets=drawn_participants(plan, number), lasting=False
        )
        answered = int(state.get(ANSWERED, np.ones(len(plan.participants))).sum())
        # Videos that are expected in the sum: their number is known by a noisy count alone, spread over all sites.
        expected = terms.sampling * float(state[_OURS + "videos"]) * answered / len(plan.participants)
        update = {}
        for name in weights:
            total = np.sum([np.asarray(r.message[f"gradient.{name}"], np.float64) for r in replies], axis=0)
            before = state.get(f"{_OURS}velocity.{name}", np.zeros(()))
            velocity = momentum * before + terms.clip * total / max(expected, 1.0)
            state[f"{_OURS}velocity.{name}"] = velocity
            update[name] = -lr * velocity
        set_weights(state, plan.strategy.aggregate(weights, [Contribution(1, update, {})], state, 1))
        state["round"] = np.array(number)
        log(
            {
                "round": number,
                "participants": answered,
                "bytes_up": int(state["bytes_up"]) - up,
                "bytes_down": int(state["bytes_down"]) - down,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )


def _total(replies: Sequence[Reply], name: str) -> np.ndarray:
    """Sum of the replies in their order, one vector in the order of the schema's entries."""
    fields = schema(name).fields
    rows = [np.concatenate([np.ravel(reply.message[field]) for field in fields]) for reply in replies]
    return np.asarray(np.sum(rows, axis=0))


def _mixture(state: State) -> Message:
    return {name: state[_OURS + name] for name in ("centre", "weights", "means", "covariances")}


def _keep(mixture: Mixtures, step: int, state: State) -> None:
    arrays = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
    state.update({_OURS + name: value for name, value in {**arrays, "step": np.array(step)}.items()})


def _kept(state: State) -> Mixtures:
    return Mixtures(*(state[_OURS + name] for name in ("weights", "means", "covariances")))
