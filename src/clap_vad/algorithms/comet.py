"""COMET: a common mixture density, fitted on noisy sums and personalised for each camera.

Sites fit one density of normal behaviour by EM on sums, with noise that protects any single region (or, with ``--dp
video``, any single video). Each site then adapts the density to its own cameras, adds a memory of their regions, and
scores its videos with both; these models never leave the site. No labels are used. ``docs/methods/comet.md`` derives
the method and explains the choice of every constant.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..core.density import bounded_rows, noisy_truth
from ..core.density.bounded_density import BoundedSums, Fit, components_for, least_mass, next_fit, radius_for
from ..core.density.gaussian_mixture import COMPONENTS, Mixture, reseeded, starting_mixture
from ..core.density.noisy_truth import bounded_tails
from ..core.density.projection import Projection
from ..core.density.surprise import TAIL, value_histogram
from ..core.statistics.histogram import BINS
from ..core.statistics.moments import Normaliser
from ..core.statistics.randomness import keyed_generator
from ..detector.model import Model
from ..detector.models.mixture import log_likelihood_ratio
from ..federation.ask import Ask, Reply, State, Steps
from ..federation.messages import ACKNOWLEDGEMENT, Message
from .comet_site import SIZE_SHARE, CometSite, common_model, mixture_of, position_free_columns, unit_share
from .method import METHODS, Method
from .noisy_sums import ImpossibleSumError, NoisySums
from .plan import Plan, SiteData
from .rounds import RoundMeter

__all__ = ["Comet"]

_SETTLING = 8
"""Number of last rounds (at most half of all) in which no component is moved and noisy steps are averaged."""

_STATISTICS = 4
"""Noisy statistics of a run: sizes, moments, scales, peaks."""

_DRAWN = 50_000
"""Rows drawn from the density if the sites' counts are implausible."""

_RESOLUTION = 1000
"""Count of one unit in an integer histogram that is estimated from noisy sums."""


@METHODS.register("comet")
@dataclass(frozen=True)
class Comet(Method):
    """COMET has no settings: its constants are fixed for all datasets or follow from the noise."""

    trains_by_sgd = False
    aggregates_updates = False
    scores_each_round = False
    labels_by_training = True
    personalises = True
    private_units: ClassVar[tuple[str, ...]] = ("crop", "video")

    def private_statistics(self) -> int:
        """Four: sizes, moments, scales, peaks."""
        return _STATISTICS

    def private_rounds(self, rounds: int) -> int:
        """One more than the rounds: the first EM step, with all regions in one component, precedes them."""
        return rounds + 1

    def usual_rounds(self, unit: str | None) -> int:
        """Fewer rounds with the larger noise that protects whole videos."""
        return 8 if unit == "video" else 20

    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """Normalisation, EM in rounds, then the common scale of surprise and the threshold of the common model."""
        projection = Projection.of(plan.dim, plan.roles.activity, plan.spec.seed)
        state["dim"] = np.array(projection.dim)
        sums = NoisySums(plan, state)
        yield from _normalisation(state, sums, plan.spec.secure_aggregation)
        yield from _start(projection.dim, plan, state, sums)
        while state["round"] < plan.spec.rounds:
            yield from _round(plan, state, sums, log)
        if "counts.common" not in state:
            mixture = mixture_of(state)
            replies = yield Ask("settle", reply="row_scales", payload=_question(mixture))
            try:
                state |= _scales(plan, sums, replies)
            except ImpossibleSumError:  # estimate the scales from rows drawn from the density
                kept = position_free_columns(projection, plan.roles)
                rows = mixture.drawn(_DRAWN, keyed_generator(plan.spec.seed, 0, "", "drawn crops"))
                for name, part in (("common", mixture.marginal(kept)), ("whole", mixture)):
                    values = log_likelihood_ratio(part, rows[:, kept] if name == "common" else rows)
                    state[f"counts.{name}"] = _RESOLUTION * value_histogram(values)
        if "score_histogram" not in state:
            question: Message = {name: state[name] for name in state if name.startswith("counts.")}
            question["usual_rows"] = max(float(state["units"]) / len(plan.participants), 1.0)
            replies = yield Ask("calibrate", reply="segment_peaks", payload=question)
            try:
                state["score_histogram"] = _peaks(plan, sums, replies)
            except ImpossibleSumError:  # then the common model has no threshold; personalised models have their own
                state["score_histogram"] = np.zeros(BINS, np.int64)

    def site(self, plan: Plan, data: SiteData) -> CometSite:
        """The site's side."""
        return CometSite(plan, data)

    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """The model for cameras without a personalised model: the position-free density."""
        return common_model(plan, state, info)

    def final_question(self, state: State) -> Message:
        """Empty: sites keep the density and the scales."""
        return {}


def _scales(plan: Plan, sums: NoisySums, replies: list[Reply]) -> State:
    """The common scales of surprise, as entries of the state; raises :class:`ImpossibleSumError`."""
    replies = sums.without_extremes(sums.plausible(replies, _check_scales), _largest_scale)
    deviation = sums.deviation(participants=None if plan.spec.secure_aggregation else len(replies))
    totals = sums.total(replies).items()
    return {f"counts.{name}": bounded_rows.read_scale(total, deviation, _RESOLUTION) for name, total in totals}


def _peaks(plan: Plan, sums: NoisySums, replies: list[Reply]) -> np.ndarray:
    """Histogram of the segments' peaks in the fixed score bins; raises :class:`ImpossibleSumError`."""
    # With masks single sites cannot be capped, so only the norm of the sum can be checked.
    masked = plan.spec.secure_aggregation
    replies = sums.plausible(replies, _check_peaks) if masked else sums.consistent(replies, _check_peaks)
    replies = sums.without_extremes(sums.capped(replies, "bins"), _largest_peak)
    deviation = sums.deviation(participants=None if masked else len(replies)) / unit_share(plan)
    return bounded_rows.read_peaks(sums.total(replies)["bins"] / unit_share(plan), deviation, BINS, _RESOLUTION)


def _normalisation(state: State, sums: NoisySums, masked: bool) -> Steps:
    """The size of each dimension, then mean and standard deviation in that unit."""
    if "sizes" not in state:
        replies = yield Ask("sizes", reply="row_sizes")
        replies = sums.consistent(replies, _check_sizes)
        state["units.cap"], deviation = np.array(sums.cap(replies, _units)), sums.deviation()
        parts = np.array([np.asarray(reply.message["bins"]) for reply in replies])
        total = bounded_tails(parts * sums.shares(replies)[:, None, None], sums.deviation(participants=1))
        if masked:  # nobody sees the parts, and one site may be malicious
            total = bounded_rows.near_the_rest(total, deviation, min(max(1.5 / sums.answered(), 0.1), 0.4))
        state["sizes"] = bounded_rows.read_sizes(total, deviation)
        most = bounded_rows.most_lengths(bounded_rows.units_in(total), deviation, len(total))
        state["sizes.most"], state["units"] = np.array(most), np.array(bounded_rows.units_in(total))
    if "normaliser.mean" not in state:
        sizes, most = state["sizes"], float(state["sizes.most"])
        question: Message = {"sizes": sizes, "most": most, "cap": float(state["units.cap"])}
        replies = yield Ask("moments", "row_moments", question, lasting=False)
        try:
            moments = sums.total(sums.near(sums.plausible(replies, noisy_truth.moments), most))
        except ImpossibleSumError:  # then the sizes alone set the scale
            found = Normaliser(np.zeros(len(sizes), np.float32), (1 / sizes).astype(np.float32))
        else:
            found = bounded_rows.read_normaliser(**moments, deviation=sums.deviation(), sizes=sizes, most=most)
            state["units"] = np.array(bounded_rows.counted(moments["count"]))
        state["normaliser.mean"], state["normaliser.scale"] = found.mean, found.scale
    if "normaliser.known" not in state:
        cap = float(state["units.cap"])
        known: Message = {"mean": state["normaliser.mean"], "scale": state["normaliser.scale"], "cap": cap}
        yield Ask("normalise", ACKNOWLEDGEMENT, known)
        state["normaliser.known"] = np.array(True)


def _start(dim: int, plan: Plan, state: State, sums: NoisySums) -> Steps:
    """Start of EM: a step with one component gives mean and covariance of all rows, from which centres are drawn."""
    if "mixture.weights" in state:
        return
    unit = Mixture(np.eye(COMPONENTS)[0], np.zeros((COMPONENTS, dim)), np.tile(np.eye(dim), (COMPONENTS, 1, 1)))
    replies = yield Ask("expect", "row_density", {"round": 0, **_question(unit)}, lasting=False)
    deviation = sums.deviation("training")
    radius = radius_for(dim, deviation > 0)
    pooled = unit  # that of standardised rows, if the sum is implausible
    with contextlib.suppress(ImpossibleSumError):
        total = BoundedSums(**sums.total(sums.plausible(replies, noisy_truth.steps, "training")))
        pooled = next_fit(Fit.begun(unit), total, radius, deviation, average=False).mixture
    asked = sums.deviation("training", plan.spec.per_round(len(plan.participants)))
    count = components_for(float(state["units"]), asked, dim, COMPONENTS)
    rng = keyed_generator(plan.spec.seed, 0, "", "centres")
    started = starting_mixture(pooled.means[0], pooled.covariances[0], count, rng)
    _keep(Fit.begun(started), state)
    state["round"] = np.array(0)


def _round(plan: Plan, state: State, sums: NoisySums, log: Callable[[dict[str, Any]], None]) -> Steps:
    number = int(state["round"]) + 1
    meter, fit = RoundMeter(state), _kept(state)
    payload: Message = {"round": number, **_question(fit.mixture)}
    targets = plan.drawn(number)
    replies = yield Ask("expect", "row_density", payload, targets=targets, lasting=False, optional=True)
    with contextlib.suppress(ImpossibleSumError):  # then this round does not change the density
        if replies:
            used = sums.plausible(replies, noisy_truth.steps, "training")
            _keep(_stepped(plan, number, fit, sums, used), state)
    state["round"] = np.array(number)
    log(meter.record(number, len(replies)))


def _stepped(plan: Plan, number: int, fit: Fit, sums: NoisySums, replies: list[Reply]) -> Fit:
    """The fit after a round."""
    used, dim = fit.mixture.means.shape
    deviation = sums.deviation("training")
    total = BoundedSums(**{name: entry[:used] for name, entry in sums.total(replies).items()})
    settling = number > plan.spec.rounds - min(_SETTLING, plan.spec.rounds // 2)
    # Averaging steps reduces noise; without noise it is not needed.
    fit = next_fit(fit, total, radius_for(dim, deviation > 0), deviation, average=settling and deviation > 0)
    if settling:
        return fit
    rng = keyed_generator(plan.spec.seed, number, "", "moved components")
    return replace(fit, mixture=reseeded(fit.mixture, fit.mass, least_mass(deviation), rng))


def _check_sizes(bins: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(bins, noise)


def _check_scales(common: np.ndarray, whole: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(np.stack([common, whole]), noise)


def _check_peaks(bins: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(bins[None], noise)


def _largest_scale(message: Message, deviation: float) -> int:
    """Estimated bin of a site's 99 % quantile."""
    return _quantile_bin(bounded_rows.read_scale(np.asarray(message["common"]), deviation, _RESOLUTION))


def _largest_peak(message: Message, deviation: float) -> int:
    return _quantile_bin(bounded_rows.read_peaks(np.asarray(message["bins"]), deviation, BINS, _RESOLUTION))


def _quantile_bin(counts: np.ndarray) -> int:
    below = np.cumsum(counts)
    return int(np.searchsorted(below, TAIL * below[-1]))


def _units(message: Message) -> float:
    """Number of a site's units, from its first message."""
    return bounded_rows.units_in(np.asarray(message["bins"]) / SIZE_SHARE)


def _question(mixture: Mixture) -> Message:
    """The mixture as a question; unused components have weight 0."""
    used, dim = mixture.means.shape
    weights, means = np.zeros(COMPONENTS), np.zeros((COMPONENTS, dim))
    covariances = np.tile(np.eye(dim), (COMPONENTS, 1, 1))
    weights[:used], means[:used], covariances[:used] = mixture.weights, mixture.means, mixture.covariances
    return {"weights": weights, "means": means, "covariances": covariances}


_SUMS = ("mass", "first", "second")


def _keep(fit: Fit, state: State) -> None:
    for name in ("weights", "means", "covariances"):
        state[f"mixture.{name}"] = getattr(fit.mixture, name)
    state.update({f"fit.{name}": getattr(fit, name) for name in _SUMS})
    state["fit.averaged"] = np.array(fit.averaged)


def _kept(state: State) -> Fit:
    mass, first, second = (state[f"fit.{name}"] for name in _SUMS)
    return Fit(mixture_of(state), mass, first, second, int(state["fit.averaged"]))
