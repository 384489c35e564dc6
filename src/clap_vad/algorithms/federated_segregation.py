"""Segregation by a mixture that all participants fit together: the coordinator's questions, a site's answers.

Sums of the videos' summaries go up, then one exchange a step of EM for all its starts, until the mixture is known to
all; each site splits its own videos by it. ``docs/methods/clap.md`` tells why, and what the sums tell.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.pseudo_labels.federated_mixture import (
    MAX_STEPS,
    STARTS,
    Fit,
    Mixtures,
    PairMoments,
    Statistics,
    advance,
    begin,
    best,
    expectation,
    finished,
    in_anomalous_component,
    normal_component,
    standardisation,
)
from ..core.statistics.moments import Moments, Normaliser, within_reach
from ..federation.ask import Ask, State, Steps
from ..federation.conversation import Turn
from ..federation.messages import Message
from ..federation.policy import RefusalError
from .sent import sent_array, sent_flag, sent_mixtures

__all__ = ["MIXTURE_FIT", "common_mixture", "judged_anomalous", "mixture_fit", "mixture_statistics", "summary_moments"]

MIXTURE_FIT = (Turn(("summarise",)), Turn(("mixture",), MAX_STEPS))
"""What a site is asked."""

_OURS = "mixture."
"""Entries of the coordinator's state begin with it."""


def mixture_fit(state: State) -> Steps:
    """The coordinator's questions; each goes on from what the state holds, where the fit stands afterwards.

    A participant may miss any of them: the sums of a step are then those of the others. Where no video of those that
    replied is without a label there is nothing to judge and no step is taken.
    """
    if _OURS + "step" not in state:
        replies = yield Ask("summarise", reply="summary_moments", lasting=False)
        messages = [reply.message for reply in replies]
        parts = [PairMoments(int(m["count"]), np.asarray(m["sum"]), np.asarray(m["outer"])) for m in messages]
        moments = PairMoments.total(parts)
        mean, scale = standardisation(moments)
        state.update({_OURS + "count": np.array(moments.count), _OURS + "mean": mean, _OURS + "scale": scale})
        unlabelled = sum(int(message["unlabelled"]) for message in messages)
        _keep(begin(moments if unlabelled else PairMoments.total([])), state)
    while not finished(fit := _kept(state)):
        payload = _question(state, fit.mixtures)
        replies = yield Ask("mixture", reply="mixture_statistics", payload=payload, lasting=False)
        total = Statistics.total(_statistics(reply.message) for reply in replies)
        _keep(advance(fit, total), state)


def common_mixture(state: Mapping[str, np.ndarray], rule: str) -> Message:
    """What every site judges its videos by: the best start's mixture, and which component is normal by this rule."""
    mixture = best(_kept(state))
    return {**_question(state, mixture), "normal": normal_component(mixture, int(state[_OURS + "count"]), rule)}


def summary_moments(summaries: np.ndarray, unlabelled: int) -> Message:
    """A site's reply from its videos' (V, 2) summaries, so many of which are of a video without a label."""
    moments = PairMoments.of(summaries)
    return {"count": moments.count, "unlabelled": unlabelled, "sum": moments.sum, "outer": moments.outer}


def mixture_statistics(summaries: np.ndarray, question: Message) -> Message:
    """A site's reply to a step of EM."""
    sums = expectation(*_asked(summaries, question, STARTS))
    return {
        "responsibility": sums.responsibility,
        "sum": sums.sum,
        "outer": sums.outer,
        "likelihood": sums.likelihood,
    }


def judged_anomalous(summaries: np.ndarray, question: Message) -> np.ndarray:
    """(V,) bool, a site's own videos by the common mixture."""
    return in_anomalous_component(*_asked(summaries, question, 1), sent_flag(question, "normal"))


def _question(state: Mapping[str, np.ndarray], mixtures: Mixtures) -> Message:
    return {
        "mean": state[_OURS + "mean"],
        "scale": state[_OURS + "scale"],
        "weights": mixtures.weights,
        "means": mixtures.means,
        "covariances": mixtures.covariances,
    }


def _asked(summaries: np.ndarray, question: Message, restarts: int) -> tuple[np.ndarray, Mixtures]:
    """The site's summaries as the federation standardises them, and the mixtures it is asked about."""
    mixtures = sent_mixtures(question, restarts)
    mean, scale = (sent_array(question, name, (2,), "float64") for name in ("mean", "scale"))
    if (scale < 0).any() or not within_reach(Moments.of(summaries), Normaliser(mean, scale)):
        raise RefusalError("a standardisation that is far from what this site's own videos are; refused")
    return (summaries - mean) * scale, mixtures


def _statistics(message: Message) -> Statistics:
    return Statistics(*(np.asarray(message[name]) for name in ("responsibility", "sum", "outer", "likelihood")))


def _keep(fit: Fit, state: State) -> None:
    mixtures = {"weights": fit.mixtures.weights, "means": fit.mixtures.means, "covariances": fit.mixtures.covariances}
    rest = {"bound": fit.bound, "converged": fit.converged, "step": np.array(fit.step)}
    state.update({_OURS + name: value for name, value in {**mixtures, **rest}.items()})


def _kept(state: Mapping[str, np.ndarray]) -> Fit:
    arrays = [state[_OURS + name] for name in ("weights", "means", "covariances")]
    return Fit(Mixtures(*arrays), state[_OURS + "bound"], state[_OURS + "converged"], int(state[_OURS + "step"]))
