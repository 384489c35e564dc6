"""A run under differential privacy with the video as its unit: the coordinator's questions.

What the usual form of a method sends as it is, this form sends as a noisy sum over videos of contributions bounded one
by one (:mod:`clap_vad.core.pseudo_labels.private_statistics`). Every answer depends on each video by itself and on what
was released before. ``docs/privacy.md`` says what is promised and what accuracy it costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.pseudo_labels import private_statistics as private
from ..core.pseudo_labels.federated_mixture import Mixtures, normal_component
from ..core.pseudo_labels.windows import LABEL_SHARE
from ..core.statistics.accounting import Terms
from ..core.statistics.histogram import finer
from ..detector.network import LAYERS, last_layers
from ..detector.prior import far_is_suspicious
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.messages import ACKNOWLEDGEMENT, Message, schema
from ..federation.strategy import Contribution
from ..protection.session import least_members
from .noisy_sums import NoisySums
from .plan import Plan
from .private_site import MIXTURE_STEPS
from .rounds import RoundMeter, aggregated, begin_training, global_weights, set_weights

__all__ = ["STATISTICS", "private_steps"]

STATISTICS = 5 + MIXTURE_STEPS
"""Noisy statistics of a run: scales, moments, centre, steps of EM, Gaussian, scores."""
_OURS = "private."
"""Entries of the coordinator's state begin with it."""


def private_steps(
    plan: Plan,
    terms: Terms,
    state: State,
    log: Callable[[dict[str, Any]], None],
    normal_cluster: str,
    momentum: float,
) -> Steps:
    """Normalisation, segregation, rounds of one step each, the alarm threshold: each goes on from the state.

    Args:
        plan: the run; always normalised, since all bounds are in standardised units.
        terms: of its privacy.
        state: of the coordinator.
        log: takes one record a round.
        normal_cluster: which component of the mixture is normal.
        momentum: of the steps that rounds make.
    """
    sums = _Sums(plan, state)
    yield from _normalisation(state, sums)
    yield from _segregation(state, sums, plan.dim, normal_cluster)
    yield from _rounds(plan, terms, state, sums, log, momentum)
    if "score_histogram" not in state:
        replies = yield Ask("calibrate", "private_scores", _weights(state), lasting=False)
        state["score_histogram"] = finer(np.maximum(sums.read(replies, "private_scores"), 0.0))


class _Sums(NoisySums):
    """With what is known of the number of videos."""

    def read(self, replies: Sequence[Reply], name: str) -> np.ndarray:
        """Sum of the replies in their order, one vector in the order of the schema's entries."""
        total = self.total(replies)
        return np.concatenate([np.ravel(total[field]) for field in schema(name).fields])

    def count(self, videos: float) -> float:
        """Take in a noisy number of all videos; returns the mean of all there were, at least 1."""
        known = self._state.get(_OURS + "counts", np.zeros(2)) + np.array([1.0, videos])
        self._state[_OURS + "counts"] = known
        return self.videos()

    def videos(self) -> float:
        """Videos of all participants, as well as it is known."""
        number, total = self._state[_OURS + "counts"]
        return max(float(total / number), 1.0)


def _normalisation(state: State, sums: _Sums) -> Steps:
    if _OURS + "scales" not in state:
        replies = yield Ask("scales", "private_scales", lasting=False)
        total = sums.read(replies, "private_scales")
        videos = sums.count(private.scale_blocks(len(total) - 2).unpack(total)[0][0])
        state[_OURS + "scales"] = private.read_scales(total, videos, sums.deviation())
    scales = state[_OURS + "scales"]
    if "normaliser.mean" not in state:
        replies = yield Ask("moments", "private_moments", {"scales": scales}, lasting=False)
        total = sums.read(replies, "private_moments")
        videos = sums.count(private.moment_blocks(len(scales)).unpack(total)[0][0])
        normaliser = private.read_normaliser(total, videos, sums.deviation(), scales)
        state["normaliser.mean"], state["normaliser.scale"] = normaliser.mean, normaliser.scale
    if "normaliser.known" not in state:
        known: Message = {"mean": state["normaliser.mean"], "scale": state["normaliser.scale"]}
        yield Ask("normalise", ACKNOWLEDGEMENT, known)
        state["normaliser.known"] = np.array(True)


def _segregation(state: State, sums: _Sums, dim: int, normal_cluster: str) -> Steps:
    if _OURS + "centre" not in state:
        replies = yield Ask("summarise", "private_centre", lasting=False)
        total = sums.read(replies, "private_centre")
        videos = sums.count(private.CENTRE.unpack(total)[0][0])
        state[_OURS + "centre"] = private.read_centre(total, videos, sums.deviation())
        _keep(private.first_mixture(), 0, state)
        state[_OURS + "sums"] = private.expected_sums(private.first_mixture(), videos)
    while (step := int(state[_OURS + "step"])) < MIXTURE_STEPS:
        replies = yield Ask("mixture", "private_mixture", _mixture(state), lasting=False)
        # Online EM (Cappe and Moulines 2009): sums are the mean of all so far, and noise that of none by itself.
        before = state[_OURS + "sums"]
        total = before + (sums.read(replies, "private_mixture") - before) / (step + 2)
        state[_OURS + "sums"] = total
        noise = sums.deviation() * math.sqrt(step + 1) / (step + 2)
        _keep(private.next_mixture(total, sums.videos(), noise), step + 1, state)
    if "gaussians" not in state:
        normal = normal_component(_kept(state), round(sums.videos()), normal_cluster)
        replies = yield Ask("segregate", "private_gaussian", {**_mixture(state), "normal": normal})
        total = sums.read(replies, "private_gaussian")
        state["gaussians"] = np.array([private.read_gaussian(total, sums.videos(), sums.deviation(), dim)])
    if _OURS + "labelled" not in state:
        yield Ask("label", ACKNOWLEDGEMENT, {"gaussians": state["gaussians"]})
        state[_OURS + "labelled"] = np.array(True)


def _rounds(
    plan: Plan,
    terms: Terms,
    state: State,
    sums: _Sums,
    log: Callable[[dict[str, Any]], None],
    momentum: float,
) -> Steps:
    """Each round one step of SGD with momentum on the noisy mean of clipped gradients, by way of the strategy.

    Only the last layers learn where noise would drown the rest: as many as leave the norm of the noise, which grows
    with the square root of what is trained, below that of the gradients of all videos of a round at one. Steps are
    shortened until the noise of all rounds together moves the weights by no more than their own length.
    """
    if "round" not in state:
        begin_training(plan, state)
        # How rare labels of 1 are is known: no noisy step need be spent on it (Lin et al. 2017, section 4.1).
        rare = LABEL_SHARE * float(state[_OURS + "weights"][0, 1])
        set_weights(state, far_is_suspicious(global_weights(state), plan.spec.seed, rare))
        layers, lr = _planned(plan, terms, sums.videos(), momentum, global_weights(state))
        state[_OURS + "layers"], state[_OURS + "lr"] = np.array(layers), np.array(lr)
    layers, lr = int(state[_OURS + "layers"]), float(state[_OURS + "lr"])
    while state["round"] < plan.spec.rounds:
        number = int(state["round"]) + 1
        meter = RoundMeter(state)
        targets = plan.drawn(number)
        question = {"round": number, **_weights(state)}
        reply = f"private_gradient_{layers}"
        replies = yield Ask(f"train_{layers}", reply, question, targets=targets, lasting=False, optional=True)
        # Videos that are expected in the sum: their number is known by noisy counts alone, spread over all sites.
        expected = max(terms.sampling * sums.videos() * sums.answered() / len(plan.participants), 1.0)
        weights = global_weights(state)
        update = {name: np.zeros_like(value) for name, value in weights.items()}
        velocities: State = {}
        for name in last_layers(weights, layers) if replies else ():
            total = np.sum([np.asarray(r.message[f"gradient.{name}"], np.float64) for r in replies], axis=0)
            key = f"{_OURS}velocity.{name}"
            velocities[key] = momentum * state.get(key, np.zeros(())) + terms.clip * total / expected
            update[name] = -lr * velocities[key]
        taken = aggregated(plan.strategy, weights, [Contribution(1, update, {})] if replies else [], state, 1)
        state.update(velocities if taken else {})
        state["round"] = np.array(number)
        log(meter.record(number, len(plan.participants), **({} if taken else {"skipped": 1})))


def _planned(
    plan: Plan, terms: Terms, videos: float, momentum: float, weights: Mapping[str, np.ndarray]
) -> tuple[int, float]:
    """How many layers learn, and at which rate, from what is known before training."""
    asked = plan.spec.per_round(len(plan.participants))
    noise = terms.noise_training * math.sqrt(asked / (least_members(asked) if plan.spec.secure_aggregation else 1))
    signal = terms.sampling * videos * asked / len(plan.participants)
    sizes = [sum(weights[name].size for name in last_layers(weights, count)) for count in range(1, LAYERS + 1)]
    layers = max([count for count, size in enumerate(sizes, start=1) if noise * math.sqrt(size) <= signal], default=1)
    length = math.sqrt(sum(float(np.square(weights[name]).sum()) for name in last_layers(weights, layers)))
    # Momentum repeats a step 1 / (1 - momentum) times; steps of noise add up as the square root of their number.
    moved = noise * math.sqrt(sizes[layers - 1] * plan.spec.rounds) * terms.clip / max(signal, 1.0) / (1 - momentum)
    return layers, terms.lr if moved == 0 else min(terms.lr, length / moved)


def _weights(state: State) -> Message:
    return {f"weights.{name}": value for name, value in global_weights(state).items()}


def _mixture(state: State) -> Message:
    return {name: state[_OURS + name] for name in ("centre", "weights", "means", "covariances")}


def _keep(mixture: Mixtures, step: int, state: State) -> None:
    arrays = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
    state.update({_OURS + name: value for name, value in {**arrays, "step": np.array(step)}.items()})


def _kept(state: State) -> Mixtures:
    return Mixtures(*(state[_OURS + name] for name in ("weights", "means", "covariances")))
