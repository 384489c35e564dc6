"""COMET: a common mixture exchanged by sums and adapted at home.

What people usually do is common knowledge: sites fit one density of it by expectation-maximisation on sums. Each site
then adapts it to its own cameras, sets a memory of its own beside it, and judges its videos by both. No label is read.
``docs/methods/comet.md`` derives it and says how every constant was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.behaviour import Behaviour
from ..core.density import COMPONENTS, Mixture, MixtureSums, maximised, reseeded, starting_mixture
from ..core.randomness import keyed_generator
from ..detector.model import Model
from ..detector.models.mixture import Density, MixtureModel
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.messages import Message
from .comet_site import CometSite, mixture_of, placeless_columns
from .method import METHODS, Method
from .plan import Plan, SiteData
from .rounds import RoundMeter, drawn_participants, federated_normalisation, normaliser_of

__all__ = ["Comet"]

_SETTLING = 8
"""Last rounds, in which no component is moved any more."""


@METHODS.register("comet")
@dataclass(frozen=True)
class Comet(Method):
    """COMET has no settings: its constants are the same on every dataset."""

    trains_by_sgd = False
    aggregates_updates = False
    judges_each_round = False
    labels_by_training = True
    has_homes = True

    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """Normalisation, EM in rounds, then the common scales of surprise and of scores."""
        behaviour = Behaviour.of(plan.dim, plan.roles.behaviour, plan.seed)
        state["dim"] = np.array(behaviour.dim)
        yield from federated_normalisation(behaviour.dim, state)
        yield from _start(behaviour.dim, plan.seed, state)
        while state["round"] < plan.rounds:
            yield from _round(plan, state, log)
        if "counts.common" not in state:
            replies = yield Ask("settle", reply="surprise_histograms", payload=_question(mixture_of(state)))
            for name in replies[0].message:
                state[f"counts.{name}"] = np.sum([np.asarray(reply.message[name]) for reply in replies], axis=0)
        if "score_histogram" not in state:
            counts: Message = {name: state[name] for name in state if name.startswith("counts.")}
            replies = yield Ask("calibrate", reply="score_histogram", payload=counts)
            state["score_histogram"] = np.sum([np.asarray(reply.message["counts"]) for reply in replies], axis=0)

    def site(self, plan: Plan, data: SiteData) -> CometSite:
        """The site's side."""
        return CometSite(plan, data)

    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """What judges the videos of a camera that nobody has adapted to: the density, without any position."""
        behaviour = Behaviour.of(plan.dim, plan.roles.behaviour, plan.seed)
        normaliser = normaliser_of(state)
        assert normaliser is not None  # the first thing that is found
        kept = placeless_columns(behaviour, plan.roles)
        common = Density(mixture_of(state).marginal(kept), kept, state["counts.common"], 1.0)
        return MixtureModel(behaviour.standardised_by(normaliser), (common,), plan.roles.followed, info)

    def final_question(self, state: State) -> Message:
        """Nothing: a site keeps the density and the scales."""
        return {}


def _start(dim: int, seed: int, state: State) -> Steps:
    """A step of a mixture with one component in use gives the mean and covariance of all rows."""
    if "mixture.weights" in state:
        return
    first = np.eye(COMPONENTS)[0]
    unit = Mixture(first, np.zeros((COMPONENTS, dim)), np.tile(np.eye(dim), (COMPONENTS, 1, 1)))
    replies = yield Ask("expect", reply="density_statistics", payload=_question(unit), lasting=False)
    pooled = maximised(_total(replies))
    rng = keyed_generator(seed, 0, "", "centres")
    _keep(starting_mixture(pooled.means[0], pooled.covariances[0], COMPONENTS, rng), state)
    state["round"] = np.array(0)


def _round(plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
    number = int(state["round"]) + 1
    meter = RoundMeter(state)
    payload: Message = {"round": number, **_question(mixture_of(state))}
    targets = drawn_participants(plan, number)
    replies = yield Ask("expect", "density_statistics", payload, targets=targets, lasting=False)
    sums = _total(replies)
    mixture = maximised(sums)
    if number <= plan.rounds - _SETTLING:
        mixture = reseeded(mixture, sums.mass, keyed_generator(plan.seed, number, "", "moved components"))
    _keep(mixture, state)
    state["round"] = np.array(number)
    log(meter.record(number, len(replies), loss=-sums.likelihood / max(sums.count, 1)))


def _total(replies: list[Reply]) -> MixtureSums:
    parts = []
    for message in (reply.message for reply in replies):
        mass, summed, outer = (np.asarray(message[name]) for name in ("mass", "sum", "outer"))
        parts.append(MixtureSums(mass, summed, outer, float(message["likelihood"]), int(message["count"])))
    return MixtureSums.total(parts)


def _question(mixture: Mixture) -> Message:
    return {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}


def _keep(mixture: Mixture, state: State) -> None:
    state["mixture.weights"], state["mixture.means"] = mixture.weights, mixture.means
    state["mixture.covariances"] = mixture.covariances
