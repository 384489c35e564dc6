"""CLAP under differential privacy with the video as the privacy unit: the coordinator's questions.

Every statistic is sent as a noisy sum of per-video contributions with bounded norm
(:mod:`clap_vad.core.pseudo_labels.private_statistics`). A contribution depends only on its video and on earlier
releases. ``docs/privacy.md`` states the guarantee and its cost in accuracy.
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
"""Noisy statistics of a run: scales, moments, centre, EM steps, Gaussian, scores."""
_OURS = "private."
"""Prefix of the entries in the coordinator's state."""


def private_steps(
    plan: Plan,
    terms: Terms,
    state: State,
    log: Callable[[dict[str, Any]], None],
    normal_cluster: str,
    momentum: float,
) -> Steps:
    """Normalisation, segregation, rounds of one step each, alarm threshold; all resume from the state.

    Args:
        plan: the run; always normalised, because all bounds are in standardised units.
        terms: privacy terms.
        state: state of the coordinator.
        log: takes one record per round.
        normal_cluster: rule for the normal component of the mixture.
        momentum: momentum of the rounds' steps.
    """
    sums = _Sums(plan, state)
    yield from _normalisation(state, sums)
    yield from _segregation(state, sums, plan.dim, normal_cluster)
    yield from _rounds(plan, terms, state, sums, log, momentum)
    if "score_histogram" not in state:
        replies = yield Ask("calibrate", "private_scores", _weights(state), lasting=False)
        state["score_histogram"] = finer(np.maximum(sums.read(replies, "private_scores"), 0.0))


class _Sums(NoisySums):
    """Noisy sums, with an estimate of the number of videos."""

    def read(self, replies: Sequence[Reply], name: str) -> np.ndarray:
        """Sum of the replies, in their order, as one vector in the order of the schema's entries."""
        total = self.total(replies)
        return np.concatenate([np.ravel(total[field]) for field in schema(name).fields])

    def count(self, videos: float) -> float:
        """Add a noisy number of all videos; returns the mean of all such numbers, at least 1."""
        known = self._state.get(_OURS + "counts", np.zeros(2)) + np.array([1.0, videos])
        self._state[_OURS + "counts"] = known
        return self.videos()

    def videos(self) -> float:
        """Estimated number of videos of all participants."""
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
        # Online EM (Cappe and Moulines 2009): sums are averaged over all steps so far, which reduces their noise.
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
    """One SGD step with momentum per round, on the noisy mean of clipped gradients, through the strategy.

    Only as many last layers are trained as keep the noise below the signal: the norm of the noise grows with the square
    root of the number of weights, the largest signal is the sum of all clipped gradients of a round. The learning rate
    is limited so that the noise of all rounds moves the weights by at most their own norm.
    """
    if "round" not in state:
        begin_training(plan, state)
        # The rate of labels 1 is known, so no noisy step is needed to learn it (Lin et al. 2017, section 4.1).
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
        # Expected number of videos in the sum, from noisy counts, assumed equal at all sites.
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
    """Number of trained layers and learning rate, from what is known before training."""
    asked = plan.spec.per_round(len(plan.participants))
    noise = terms.noise_training * math.sqrt(asked / (least_members(asked) if plan.spec.secure_aggregation else 1))
    signal = terms.sampling * videos * asked / len(plan.participants)
    sizes = [sum(weights[name].size for name in last_layers(weights, count)) for count in range(1, LAYERS + 1)]
    layers = max([count for count, size in enumerate(sizes, start=1) if noise * math.sqrt(size) <= signal], default=1)
    length = math.sqrt(sum(float(np.square(weights[name]).sum()) for name in last_layers(weights, layers)))
    # Momentum repeats a step 1 / (1 - momentum) times; noise adds up as the square root of the number of steps.
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
