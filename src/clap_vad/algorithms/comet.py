"""COMET: a common mixture exchanged by noisy sums and adapted at home.

What people usually do is common knowledge: sites fit one density of it by expectation-maximisation on sums, each with
noise that hides any one crop (or, under ``--dp video``, any one video). Each site then adapts it to its own cameras,
sets a memory of its own beside it, and judges its videos by both; these models never leave it. No label is read.
``docs/methods/comet.md`` derives it and says how every constant was chosen.
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
"""Last rounds, or half of all where these are fewer, in which no component is moved and noisy steps are averaged."""

_STATISTICS = 4
"""Noisy statistics of a run: sizes, moments, scales, peaks."""

_DRAWN = 50_000
"""Rows drawn from the density where the sites' own counts cannot be true."""

_RESOLUTION = 1000
"""What a unit counts in the whole numbers of a histogram that is read from noisy sums."""


@METHODS.register("comet")
@dataclass(frozen=True)
class Comet(Method):
    """COMET has no settings: its constants are the same on every dataset, or follow from the noise."""

    trains_by_sgd = False
    aggregates_updates = False
    judges_each_round = False
    labels_by_training = True
    personalises = True
    private_units: ClassVar[tuple[str, ...]] = ("crop", "video")

    def private_statistics(self) -> int:
        """Sizes, moments, scales, peaks."""
        return _STATISTICS

    def private_rounds(self, rounds: int) -> int:
        """The first step of EM, about all crops as one component, comes before the rounds."""
        return rounds + 1

    def usual_rounds(self, unit: str | None) -> int:
        """Fewer under the noise that hides a whole video."""
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
            except ImpossibleSumError:  # what the density itself makes of what usually happens
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
            except ImpossibleSumError:  # cameras without a home have no threshold then; homes have their own
                state["score_histogram"] = np.zeros(BINS, np.int64)

    def site(self, plan: Plan, data: SiteData) -> CometSite:
        """The site's side."""
        return CometSite(plan, data)

    def model(self, plan: Plan, state: State, info: dict[str, Any]) -> Model:
        """What judges the videos of a camera that nobody has adapted to: the density, without any position."""
        return common_model(plan, state, info)

    def final_question(self, state: State) -> Message:
        """Nothing: a site keeps the density and the scales."""
        return {}


def _scales(plan: Plan, sums: NoisySums, replies: list[Reply]) -> State:
    """The common scales of surprise, entries of the state; raises :class:`ImpossibleSumError`."""
    replies = sums.middle(sums.believed(replies, _scales_wrong), _largest_scale)
    deviation = sums.deviation(participants=None if plan.spec.secure_aggregation else len(replies))
    totals = sums.total(replies).items()
    return {f"counts.{name}": bounded_rows.read_scale(total, deviation, _RESOLUTION) for name, total in totals}


def _peaks(plan: Plan, sums: NoisySums, replies: list[Reply]) -> np.ndarray:
    """Segments by their peaks in the fixed bins of scores; raises :class:`ImpossibleSumError`."""
    # Under masks nobody is evened out, so the length of the sum is all that there is to look at.
    replies = sums.believed(replies, _peaks_wrong) if plan.spec.secure_aggregation else sums.true(replies, _peaks_wrong)
    replies = sums.middle(sums.evened(replies, "bins"), _largest_peak)
    deviation = sums.deviation(participants=None if plan.spec.secure_aggregation else len(replies)) / unit_share(plan)
    return bounded_rows.read_peaks(sums.total(replies)["bins"] / unit_share(plan), deviation, BINS, _RESOLUTION)


def _normalisation(state: State, sums: NoisySums, masked: bool) -> Steps:
    """How large each number is, then mean and deviation in that unit."""
    if "sizes" not in state:
        replies = yield Ask("sizes", reply="row_sizes")
        replies = sums.true(replies, _sizes_wrong)
        state["units.cap"], deviation = np.array(sums.cap(replies, _units)), sums.deviation()
        parts = np.array([np.asarray(reply.message["bins"]) for reply in replies])
        total = bounded_tails(parts * sums.shares(replies)[:, None, None], sums.deviation(participants=1))
        if masked:  # nobody sees the parts, of which one may be a liar's
            total = bounded_rows.near_the_rest(total, deviation, min(max(1.5 / sums.answered(), 0.1), 0.4))
        state["sizes"] = bounded_rows.read_sizes(total, deviation)
        most = bounded_rows.most_lengths(bounded_rows.units_in(total), deviation, len(total))
        state["sizes.most"], state["units"] = np.array(most), np.array(bounded_rows.units_in(total))
    if "normaliser.mean" not in state:
        sizes, most = state["sizes"], float(state["sizes.most"])
        question: Message = {"sizes": sizes, "most": most, "cap": float(state["units.cap"])}
        replies = yield Ask("moments", "row_moments", question, lasting=False)
        try:
            moments = sums.total(sums.near(sums.believed(replies, noisy_truth.moments), most))
        except ImpossibleSumError:  # the sizes alone then set the scale
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
    """A step with one component in use gives the mean and covariance of all rows, about which centres are drawn."""
    if "mixture.weights" in state:
        return
    unit = Mixture(np.eye(COMPONENTS)[0], np.zeros((COMPONENTS, dim)), np.tile(np.eye(dim), (COMPONENTS, 1, 1)))
    replies = yield Ask("expect", "row_density", {"round": 0, **_question(unit)}, lasting=False)
    deviation = sums.deviation("training")
    radius = radius_for(dim, deviation > 0)
    pooled = unit  # of standardised rows, where the sum cannot be true
    with contextlib.suppress(ImpossibleSumError):
        total = BoundedSums(**sums.total(sums.believed(replies, noisy_truth.steps, "training")))
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
    with contextlib.suppress(ImpossibleSumError):  # the density stays as it is in this round
        if replies:
            believed = sums.believed(replies, noisy_truth.steps, "training")
            _keep(_stepped(plan, number, fit, sums, believed), state)
    state["round"] = np.array(number)
    log(meter.record(number, len(replies)))


def _stepped(plan: Plan, number: int, fit: Fit, sums: NoisySums, replies: list[Reply]) -> Fit:
    """The fit after a round."""
    used, dim = fit.mixture.means.shape
    deviation = sums.deviation("training")
    total = BoundedSums(**{name: entry[:used] for name, entry in sums.total(replies).items()})
    settling = number > plan.spec.rounds - min(_SETTLING, plan.spec.rounds // 2)
    # Noise falls where steps are averaged; without noise each step says all.
    fit = next_fit(fit, total, radius_for(dim, deviation > 0), deviation, average=settling and deviation > 0)
    if settling:
        return fit
    rng = keyed_generator(plan.spec.seed, number, "", "moved components")
    return replace(fit, mixture=reseeded(fit.mixture, fit.mass, least_mass(deviation), rng))


def _sizes_wrong(bins: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(bins, noise)


def _scales_wrong(common: np.ndarray, whole: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(np.stack([common, whole]), noise)


def _peaks_wrong(bins: np.ndarray, noise: float) -> str | None:
    return noisy_truth.histograms(bins[None], noise)


def _largest_scale(message: Message, deviation: float) -> int:
    """The bin of a site's 99 % quantile, as well as it shows."""
    return _quantile_bin(bounded_rows.read_scale(np.asarray(message["common"]), deviation, _RESOLUTION))


def _largest_peak(message: Message, deviation: float) -> int:
    return _quantile_bin(bounded_rows.read_peaks(np.asarray(message["bins"]), deviation, BINS, _RESOLUTION))


def _quantile_bin(counts: np.ndarray) -> int:
    below = np.cumsum(counts)
    return int(np.searchsorted(below, TAIL * below[-1]))


def _units(message: Message) -> float:
    """How many units a site has, from what it first sends."""
    return bounded_rows.units_in(np.asarray(message["bins"]) / SIZE_SHARE)


def _question(mixture: Mixture) -> Message:
    """The mixture as a question; components that are not in use have no weight."""
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
