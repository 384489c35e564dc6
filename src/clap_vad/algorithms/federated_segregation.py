"""Federated segregation by a common mixture: the coordinator's questions and a site's replies.

Sites send sums of their videos' summaries, then sums for each EM step (all starts at once). When the fit is finished,
each site splits its own videos by the mixture. ``docs/methods/clap.md`` explains why, and what the sums reveal.
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

__all__ = [
    "MIXTURE_FIT",
    "anomalous_by_mixture",
    "common_mixture",
    "mixture_fit",
    "mixture_statistics",
    "summary_moments",
]

MIXTURE_FIT = (Turn(("summarise",)), Turn(("mixture",), MAX_STEPS))
"""The questions to a site."""

_OURS = "mixture."
"""Prefix of the entries in the coordinator's state."""


def mixture_fit(state: State) -> Steps:
    """The coordinator's questions; the fit is kept in the state and continues from there.

    A participant may miss any question; the sums are then those of the others. If all videos are labelled, there is
    nothing to split and no step is taken.
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
    """The final question: the mixture of the best start, and its normal component by this rule."""
    mixture = best(_kept(state))
    return {**_question(state, mixture), "normal": normal_component(mixture, int(state[_OURS + "count"]), rule)}


def summary_moments(summaries: np.ndarray, unlabelled: int) -> Message:
    """A site's reply: moments of its videos' summaries (V, 2), and the number of unlabelled videos."""
    moments = PairMoments.of(summaries)
    return {"count": moments.count, "unlabelled": unlabelled, "sum": moments.sum, "outer": moments.outer}


def mixture_statistics(summaries: np.ndarray, question: Message) -> Message:
    """A site's reply to an EM step."""
    sums = expectation(*_asked(summaries, question, STARTS))
    return {
        "responsibility": sums.responsibility,
        "sum": sums.sum,
        "outer": sums.outer,
        "likelihood": sums.likelihood,
    }


def anomalous_by_mixture(summaries: np.ndarray, question: Message) -> np.ndarray:
    """(V,) bool: the site's videos that are anomalous under the common mixture."""
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
    """The site's summaries, standardised by the question, and the mixtures in the question."""
    mixtures = sent_mixtures(question, restarts)
    mean, scale = (sent_array(question, name, (2,), "float64") for name in ("mean", "scale"))
    if (scale < 0).any() or not within_reach(Moments.of(summaries), Normaliser(mean, scale)):
        raise RefusalError("refused the received standardisation: it is far from this site's own videos")
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
