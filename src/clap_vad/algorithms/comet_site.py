"""The site's side of COMET: sums over its regions, and personalised models, which stay at the site."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.density.bounded_density import bounded_sums, radius_for
from ..core.density.bounded_rows import PEAK_BINS, moment_sums, peak_sums, possible_bounds, scale_sums, size_sums
from ..core.density.gaussian_mixture import COMPONENTS, Mixture, adapted
from ..core.density.memory import NEIGHBOURS, Memory, most_remembered, usual_distance_ratio
from ..core.density.projection import Projection
from ..core.density.score_aggregation import over_regions, squashed
from ..core.density.surprise import SURPRISE_BINS, histogram_quantile, value_histogram
from ..core.statistics.histogram import score_bins, score_histogram
from ..core.statistics.moments import Normaliser
from ..core.statistics.randomness import keyed_generator
from ..detector.models.mixture import Density, MixtureModel, Remembered, log_likelihood_ratio
from ..detector.personalised import PersonalisedModels
from ..detector.threads import fixed_threads
from ..features.roles import Roles
from ..features.store.crops import crop_rows, drawn_crops
from ..features.store.reader import VideoIndex
from ..features.store.streaming import blocks
from ..federation.ask import State
from ..federation.conversation import Turn
from ..federation.messages import ACKNOWLEDGEMENT, Message
from ..federation.policy import RefusalError
from ..federation.privacy import KEY
from ..protection.noise import gaussian_noise, keyed_digest
from .method_site import MethodSite
from .plan import Plan, SiteData
from .rounds import turn_of_rounds

__all__ = ["SIZE_SHARE", "CometSite", "common_model", "mixture_of", "position_free_columns", "unit_share"]

_MOST_ROWS = 1 << 17
"""Approximate limit of the regions in a site's statistics; it bounds memory and time for any amount of data."""

_MOST_OF_VIDEO = 2048
"""Most regions of one video that count, if the privacy unit is the video."""

_COUNT_SHARE = 0.4
SIZE_SHARE = math.sqrt(1 - _COUNT_SHARE**2)
"""Shares of the norm of the first release: the site's noisy counts, which it keeps, and the sizes, which it sends."""

_ENOUGH = 1000.0
"""Number of regions of a camera at which its own data has half of its largest weight."""

_PRIOR, _WEIGHT_PRIOR, _STEPS = 50.0, 500.0, 2
_MANY, _HUGE = 1e15, 1e10

_LEFT_OF_FOLLOWED = 0.5
"""Share of a segment's largest surprise that remains after smoothing, at the 99 % quantile, for tracked regions: 0.41
to 0.50 on unlabelled ShanghaiTech tracks. For untracked grid cells it is near 1: 0.94 to 0.98 on UCSD Ped2."""


def mixture_of(state: Mapping[str, np.ndarray | int | float]) -> Mixture:
    """The density in a state."""
    return Mixture(*(np.asarray(state[f"mixture.{name}"]) for name in ("weights", "means", "covariances")))


def position_free_columns(projection: Projection, roles: Roles) -> np.ndarray:
    """Position-free dimensions: those of the d dimensions that have the same meaning at every camera."""
    if projection.matrix is not None:
        return np.arange(projection.dim)
    return np.flatnonzero(~np.isin(projection.columns, roles.position))


def common_model(plan: Plan, state: Mapping[str, np.ndarray], info: dict[str, Any]) -> MixtureModel:
    """The model for cameras without a personalised model: the position-free density.

    Args:
        plan: plan of the run.
        state: state of the coordinator or of a site; both contain the normalisation, the density and its scale.
        info: description of the model.
    """
    projection = Projection.of(plan.dim, plan.roles.activity, plan.spec.seed)
    kept = position_free_columns(projection, plan.roles)
    density = Density(mixture_of(state).marginal(kept), kept, state["counts.common"], 1.0)
    normaliser = Normaliser(state["normaliser.mean"], state["normaliser.scale"])
    return MixtureModel(projection.standardised_by(normaliser), (density,), plan.roles.followed, info)


def unit_share(plan: Plan) -> float:
    """Weight of a segment's peak in a sum: one region may move its segment to another bin, a change of sqrt(2)."""
    return 1 / math.sqrt(2) if plan.spec.privacy is None or plan.spec.privacy.unit == "crop" else 1.0


class CometSite(MethodSite):
    """Each scene of the site's training videos gets a personalised model; videos without a scene share one."""

    completed_by = "score_histogram"

    def __init__(self, plan: Plan, data: SiteData) -> None:
        super().__init__(plan, data)
        self._projection = Projection.of(plan.dim, plan.roles.activity, plan.spec.seed)
        self._position_free = position_free_columns(self._projection, plan.roles)
        self._scenes = sorted(set(data.scenes))
        self.dim = self._projection.dim
        self._unit = plan.spec.privacy.unit if plan.spec.privacy is not None else "crop"
        self._noisy = plan.spec.privacy is not None and plan.spec.privacy.noise_training > 0
        self.steps |= {
            "sizes": (self._sizes, "row_sizes"),
            "moments": (self._moments, "row_moments"),
            "normalise": (self._normalise, ACKNOWLEDGEMENT),
            "expect": (self._expect, "row_density"),
            "settle": (self._personalise, "row_scales"),
            "calibrate": (self._calibrate, "segment_peaks"),
        }
        self.order = (
            Turn(("sizes",), lasting=True),
            Turn(("moments",)),
            Turn(("normalise",), lasting=True),
            turn_of_rounds(plan, data.participant, "expect", before=1),
            Turn(("settle",), lasting=True),
            Turn(("calibrate",), lasting=True),
        )

    def _sizes(self, payload: Message, state: State) -> Message:
        units, crops = self._counted(np.asarray(payload[KEY]).tobytes())
        state["units"], state["crops"] = np.array(units), np.array(crops)
        rows = self._rows(self._projection, state)
        return {"bins": size_sums(rows.rows, rows.weights) * SIZE_SHARE}

    def _moments(self, payload: Message, state: State) -> Message:
        sizes, most = np.asarray(payload.get("sizes")), np.asarray(payload.get("most"))
        if sizes.shape != (self.dim,) or sizes.dtype != np.float64 or most.shape != () or most.dtype != np.float64:
            raise RefusalError("refused the received sizes: their shape or type does not match this site's features")
        if not possible_bounds(sizes, float(most)):
            raise RefusalError("refused the received sizes: out of the range that this release can give")
        rows = self._rows(self._projection, state)
        return dict(moment_sums(rows.rows, rows.weights * self._part(payload, state), sizes, float(most)))

    def _normalise(self, payload: Message, state: State) -> Message:
        mean, scale = (np.asarray(payload.get(name)) for name in ("mean", "scale"))
        if not all(value.shape == (self.dim,) and value.dtype == np.float32 for value in (mean, scale)):
            raise RefusalError(
                "refused the received normalisation: its shape or type does not match this site's features"
            )
        if not ((np.abs(mean) <= _HUGE).all() and (scale >= 0).all() and (scale <= _HUGE).all()):  # NaN is refused too
            raise RefusalError("refused the received normalisation: not finite, too large, or with a negative scale")
        state["normaliser.mean"], state["normaliser.scale"] = mean, scale
        rows = self._rows(self._projection.standardised_by(Normaliser(mean, scale)), state)
        state["rows"], state["rows.home"] = rows.rows, rows.scenes
        state["rows.part"] = np.array(self._part(payload, state))
        state["rows.weight"] = rows.weights * float(state["rows.part"])
        return {}

    def _expect(self, payload: Message, state: State) -> Message:
        radius = radius_for(self.dim, self._noisy)
        with fixed_threads(self.plan.spec.threads):
            sums = bounded_sums(self._asked(payload), state["rows"], state["rows.weight"], radius)
        return {"mass": sums.mass, "first": sums.first, "second": sums.second}

    def _personalise(self, payload: Message, state: State) -> Message:
        """Personalisation (step ``settle``): store the density, and reply with histograms of its log-likelihood ratio.

        Nothing of the personalised models leaves the site.
        """
        mixture = self._asked(payload).in_use()
        state["mixture.weights"], state["mixture.means"] = mixture.weights, mixture.means
        state["mixture.covariances"] = mixture.covariances
        rows, kept = state["rows"], self._position_free
        with fixed_threads(self.plan.spec.threads):
            values = {
                "common": log_likelihood_ratio(mixture.marginal(kept), rows[:, kept]),
                "whole": log_likelihood_ratio(mixture, rows),
            }
        return {name: scale_sums(value, state["rows.weight"]) / math.sqrt(2) for name, value in values.items()}

    def _calibrate(self, payload: Message, state: State) -> Message:
        for name in ("common", "whole"):
            counts = np.asarray(payload.get(f"counts.{name}"))
            if (
                counts.shape != (SURPRISE_BINS,)
                or counts.dtype != np.int64
                or not ((counts >= 0) & (counts <= _MANY)).all()
            ):
                raise RefusalError("refused the received scale of surprise: not a valid histogram of this release")
            state[f"counts.{name}"] = counts
        usual = np.asarray(payload.get("usual_rows"))
        if usual.shape != () or usual.dtype != np.float64 or not 1 <= usual < _MANY:
            raise RefusalError("refused the received usual number of regions: not a number of at least 1")
        state["rows.usual"] = usual
        state["score_histogram"] = score_histogram(np.concatenate(self._scores(state)))  # stays at the site
        return {"bins": self._peaks(state) * (unit_share(self.plan) * float(state["rows.part"]))}

    def personalised(
        self, question: Message, state: Mapping[str, np.ndarray], info: dict[str, Any]
    ) -> PersonalisedModels:
        """The common model, and a personalised model for each scene: adapted densities and a memory."""
        known = {"dim": self.plan.dim, "segment_frames": self.data.store.segment_frames, **info}
        common = common_model(self.plan, state, known)
        mixture, kept, own = mixture_of(state), self._position_free, {}
        for number, scene in enumerate(self._scenes):
            rows = state["rows"][state["rows.home"] == number]
            weight = len(rows) / (len(rows) + _ENOUGH)
            whole, position_free = self._adapted(mixture, rows)
            here = weight / 2 if len(kept) < self.dim else 1.0
            experts: list[Density | Remembered] = []
            if here > 0:
                experts.append(Density(whole, np.arange(self.dim), state["counts.whole"], here))
            if here < 1:
                experts.append(Density(position_free, kept, state["counts.common"], 1 - here))
            remembered = self._remembered(rows)
            if remembered is not None:
                experts.append(Remembered(remembered, self._distances(state, mixture, remembered), weight))
            own[scene] = replace(common, experts=tuple(experts))
        return PersonalisedModels(common, own)

    def _distances(self, state: Mapping[str, np.ndarray], mixture: Mixture, rows: np.ndarray) -> np.ndarray:
        """Histogram of a memory's distances, scaled to be comparable between cameras, although none are shared."""
        usual = float(state["rows.usual"]) if self._unit == "crop" else len(rows)
        known = (float(np.median(log_likelihood_ratio(mixture, rows))), histogram_quantile(state["counts.whole"], 0.5))
        larger = usual_distance_ratio(*known, len(rows), usual, self.dim)
        return value_histogram(Memory(rows).distances_within() / larger)

    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The scores, which are soft labels."""
        return np.concatenate(self._scores(state))

    def _scores(self, state: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        personalised, data = self.personalised({}, state, {}), self.data
        return [
            personalised.of(scene).score_videos(data.store, [entry], self.plan.spec.threads)[0]
            for scene, entry in zip(data.scenes, data.entries, strict=True)
        ]

    def _peaks(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Histogram of the segments' largest surprise under the common density, (PEAK_BINS,).

        Segments are counted without smoothing, so one region moves only one segment to another bin; a constant factor
        approximates the smoothing. Segments without a valid region are not counted, so a site counts at most as many
        segments as it has regions.
        """
        store = self.data.store
        model = common_model(self.plan, state, {"dim": self.plan.dim, "segment_frames": store.segment_frames})
        total = np.zeros(PEAK_BINS)
        for entry in self._learned():
            largest = [np.zeros(0)]
            for _, x, valid in blocks(store, entry):
                peaks = over_regions(model.evidence(x, valid), valid)
                largest.append(peaks if valid is None else peaks[valid.any(axis=1)])
            left = _LEFT_OF_FOLLOWED if self.plan.roles.followed else 1.0
            bins = score_bins(squashed(left * np.concatenate(largest)))
            each = 1.0 if self._unit == "crop" else 1 / max(len(bins), 1)
            total += peak_sums(bins, np.full(len(bins), each))
        return total

    def _learned(self) -> list[VideoIndex]:
        """The videos used for training: videos with a known anomaly are excluded."""
        return [entry for entry, label in zip(self.data.entries, self.data.labels, strict=True) if label != 1]

    def _counted(self, key: bytes) -> tuple[float, float]:
        """Noisy numbers of the site's units and regions, at least 1; decisions that affect all units need noise too."""
        lengths = np.array([len(at) for at in self._present(1.0)])
        # Adding or removing a unit changes each of these numbers by at most 1, after scaling.
        counts, scales = np.array([lengths.sum()]), np.ones(1)
        if self._unit == "video":
            counts, scales = np.array([(lengths > 0).sum(), lengths.sum()]), np.array([1.0, _MOST_OF_VIDEO])
        share = _COUNT_SHARE / math.sqrt(len(counts)) / scales
        deviation = self.plan.spec.privacy.noise_statistics if self.plan.spec.privacy is not None else 0.0
        noisy = np.maximum(gaussian_noise(keyed_digest(key, "count"), counts * share, deviation) / share, scales)
        return float(noisy[0]), float(noisy[-1])

    def _rate(self, state: Mapping[str, np.ndarray]) -> float:
        """Sampling probability of a region: 1, or a smaller power of two if there are too many."""
        return 2.0 ** -max(0, math.ceil(math.log2(float(state["crops"]) / _MOST_ROWS)))

    def _part(self, payload: Message, state: Mapping[str, np.ndarray]) -> float:
        """Weight of each unit, at most 1, so that the site counts at most the run's limit for one site."""
        cap = np.asarray(payload.get("cap"))
        if cap.shape != () or cap.dtype != np.float64 or not 0 < cap < math.inf:
            raise RefusalError("refused the received limit of what a site may count: not a number above 0")
        held = float(state["units"]) * (self._rate(state) if self._unit == "crop" else 1)
        return min(1.0, float(cap) / held)

    def _present(self, rate: float) -> list[np.ndarray]:
        """Ascending positions of the sampled valid regions, for each training video."""
        found = []
        for entry in self._learned():
            rng = keyed_generator(self.plan.spec.seed, 0, self.data.participant, f"crops of {entry.video}")
            most = None if self._unit == "crop" else _MOST_OF_VIDEO
            found.append(drawn_crops(self.data.store, entry, rate, most, rng))
        return found

    def _rows(self, projection: Projection, state: Mapping[str, np.ndarray]) -> _Rows:
        """The rows of the sampled regions."""
        scenes = [scene for scene, label in zip(self.data.scenes, self.data.labels, strict=True) if label != 1]
        at = self._present(self._rate(state))
        rows = crop_rows(self.data.store, self._learned(), at, projection.rows)
        scene_of = np.repeat([self._scenes.index(scene) for scene in scenes], [len(own) for own in at])
        each = [np.full(len(own), 1.0 if self._unit == "crop" else 1 / max(len(own), 1)) for own in at]
        return _Rows(rows, scene_of.astype(np.int64), np.concatenate([np.zeros(0), *each]))

    def _adapted(self, mixture: Mixture, rows: np.ndarray) -> tuple[Mixture, Mixture]:
        """The density of all dimensions and the position-free one, adapted to a camera."""
        kept = self._position_free
        both = ((mixture, rows), (mixture.marginal(kept), rows[:, kept]))
        first, second = (adapted(m, x, prior=_PRIOR, weight_prior=_WEIGHT_PRIOR, steps=_STEPS) for m, x in both)
        return first, second

    def _remembered(self, rows: np.ndarray) -> np.ndarray | None:
        """The rows for a camera's memory; None if there are too few."""
        if len(rows) <= NEIGHBOURS:
            return None
        most = most_remembered(self.dim)
        if len(rows) > most:
            rng = keyed_generator(self.plan.spec.seed, 0, self.data.participant, "memory")
            rows = rows[np.sort(rng.choice(len(rows), most, replace=False))]
        return rows

    def _asked(self, payload: Message) -> Mixture:
        """The density in a question; raises :class:`RefusalError` if no M-step can give it."""
        mixture = Mixture(*(np.asarray(payload.get(name)) for name in ("weights", "means", "covariances")))
        if mixture.means.shape != (COMPONENTS, self.dim) or not mixture.possible():
            raise RefusalError(
                "refused the received density: invalid, of the wrong dimension, or too narrow, too wide or too distant "
                "to come from an EM step"
            )
        return mixture


@dataclass(frozen=True)
class _Rows:
    """Regions: rows (n, d) float32, index of each one's scene, weight of each."""

    rows: np.ndarray
    scenes: np.ndarray
    weights: np.ndarray
