"""The site's side of COMET: sums over its crops, and the models of its homes, which it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.behaviour import Behaviour
from ..core.density import COMPONENTS, Mixture, adapted, expectation
from ..core.histogram import score_histogram
from ..core.memory import NEIGHBOURS, Memory, most_remembered
from ..core.moments import Moments, Normaliser
from ..core.randomness import keyed_generator
from ..core.surprise import SURPRISE_BINS, value_histogram
from ..detector.homes import Homes
from ..detector.models.mixture import Density, MixtureModel, Remembered, unlikeliness
from ..detector.threads import fixed_threads
from ..errors import ClapError
from ..features.crops import crop_rows, present_crops
from ..features.roles import Roles
from ..federation.ask import State
from ..federation.conversation import Turn
from ..federation.messages import Message
from .method_site import MethodSite
from .plan import Plan, SiteData
from .rounds import turn_of_rounds

__all__ = ["CometSite", "mixture_of", "placeless_columns"]

_MOST_ROWS = 1 << 17
"""Crops that a site's statistics are over at most, drawn once: bounds memory and time however much it holds."""

_LEAST_MASS = 5.0
"""Crops that a component's sums must be over at the site to leave it."""

_ENOUGH = 1000.0
"""Crops of a home at which its own say has half the weight that it has at most."""

_SCALES = ("common", "whole", "placeless", "memory")
"""What surprise is measured against: a histogram each, summed over the sites."""

_PRIOR, _WEIGHT_PRIOR, _STEPS = 50.0, 500.0, 2


def mixture_of(state: Mapping[str, np.ndarray | int | float]) -> Mixture:
    """The density in a state."""
    return Mixture(*(np.asarray(state[f"mixture.{name}"]) for name in ("weights", "means", "covariances")))


def placeless_columns(behaviour: Behaviour, roles: Roles) -> np.ndarray:
    """Those of the d dimensions that mean the same at every camera."""
    if behaviour.projection is not None:
        return np.arange(behaviour.dim)
    return np.flatnonzero(~np.isin(behaviour.columns, roles.position))


class CometSite(MethodSite):
    """A home is a scene of the site's training videos; the site is one where they name none."""

    completed_by = "score_histogram"

    def __init__(self, plan: Plan, data: SiteData) -> None:
        super().__init__(plan, data)
        self._behaviour = Behaviour.of(plan.dim, plan.roles.behaviour, plan.seed)
        self._placeless = placeless_columns(self._behaviour, plan.roles)
        self._scenes = sorted(set(data.scenes))
        self.dim = self._behaviour.dim
        self.steps |= {
            "moments": (self._moments, "feature_moments"),
            "normalise": (self._normalise, "segment_count"),
            "expect": (self._expect, "density_statistics"),
            "settle": (self._settle, "surprise_histograms"),
            "calibrate": (self._calibrate, "score_histogram"),
        }
        self.order = (
            Turn(("moments",)),
            Turn(("normalise",), lasting=True),
            turn_of_rounds(plan, data.participant, "expect", before=1),
            Turn(("settle",), lasting=True),
            Turn(("calibrate",), lasting=True),
        )

    def _moments(self, payload: Message, state: State) -> Message:
        moments = Moments.of(self._rows(self._behaviour)[0])
        return {"count": moments.count, "sum": moments.sum, "sumsq": moments.sumsq}

    def _normalise(self, payload: Message, state: State) -> Message:
        mean, scale = (np.asarray(payload[name], np.float32) for name in ("mean", "scale"))
        fit = mean.shape == scale.shape == (self.dim,)
        if not (fit and np.isfinite(mean).all() and np.isfinite(scale).all()):
            raise ClapError(
                f"participant '{self.data.participant}': the constants sent to it are not for its features; refused"
            )
        state["normaliser.mean"], state["normaliser.scale"] = mean, scale
        state["rows"], state["rows.home"] = self._rows(self._behaviour.standardised_by(Normaliser(mean, scale)))
        return {"count": len(state["rows"])}

    def _expect(self, payload: Message, state: State) -> Message:
        with fixed_threads(self.plan.threads):
            sums = expectation(self._asked(payload), state["rows"]).of_at_least(_LEAST_MASS)
        return {
            "mass": sums.mass,
            "sum": sums.sum,
            "outer": sums.outer,
            "likelihood": sums.likelihood,
            "count": sums.count,
        }

    def _settle(self, payload: Message, state: State) -> Message:
        mixture = self._asked(payload)
        state["mixture.weights"], state["mixture.means"] = mixture.weights, mixture.means
        state["mixture.covariances"] = mixture.covariances
        counts = {name: np.zeros(SURPRISE_BINS, np.int64) for name in _SCALES}
        kept = self._placeless
        with fixed_threads(self.plan.threads):
            common = mixture.marginal(kept)
            for rows in self._at_homes(state):
                whole, placeless = self._adapted(mixture, rows)
                counts["common"] += value_histogram(unlikeliness(common, rows[:, kept]))
                counts["whole"] += value_histogram(unlikeliness(whole, rows))
                counts["placeless"] += value_histogram(unlikeliness(placeless, rows[:, kept]))
                remembered = self._remembered(rows)
                if remembered is not None:
                    counts["memory"] += value_histogram(Memory(remembered).distances_within())
        return dict(counts)

    def _calibrate(self, payload: Message, state: State) -> Message:
        for name in _SCALES:
            counts = np.asarray(payload[f"counts.{name}"])
            if counts.shape != (SURPRISE_BINS,) or counts.dtype != np.int64 or (counts < 0).any():
                raise ClapError(f"participant '{self.data.participant}': a scale of another release; refused")
            state[f"counts.{name}"] = counts
        state["score_histogram"] = score_histogram(np.concatenate(self._scores(state)))
        return {"counts": state["score_histogram"]}

    def homes(self, question: Message, state: Mapping[str, np.ndarray], info: dict[str, Any]) -> Homes:
        """The common density, and one adapted to each home with the home's memory."""
        known = {"dim": self.plan.dim, "segment_frames": self.data.store.segment_frames, **info}
        behaviour = self._behaviour.standardised_by(Normaliser(state["normaliser.mean"], state["normaliser.scale"]))
        mixture, kept, followed = mixture_of(state), self._placeless, self.plan.roles.followed
        common = Density(mixture.marginal(kept), kept, state["counts.common"], 1.0)
        own = {}
        for scene, rows in zip(self._scenes, self._at_homes(state), strict=True):
            weight = len(rows) / (len(rows) + _ENOUGH)
            whole, placeless = self._adapted(mixture, rows)
            here = weight / 2 if len(kept) < self.dim else 1.0
            experts: list[Density | Remembered] = []
            if here > 0:
                experts.append(Density(whole, np.arange(self.dim), state["counts.whole"], here))
            if here < 1:
                experts.append(Density(placeless, kept, state["counts.placeless"], 1 - here))
            remembered = self._remembered(rows)
            if remembered is not None:
                experts.append(Remembered(remembered, state["counts.memory"], weight))
            own[scene] = MixtureModel(behaviour, tuple(experts), followed, known)
        return Homes(MixtureModel(behaviour, (common,), followed, known), own)

    def pseudo_labels(self, question: Message, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The scores, which are soft labels."""
        return np.concatenate(self._scores(state))

    def _scores(self, state: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        homes, data = self.homes({}, state, {}), self.data
        return [
            homes.of(scene).score_videos(data.store, [entry], self.plan.threads)[0]
            for scene, entry in zip(data.scenes, data.entries, strict=True)
        ]

    def _rows(self, behaviour: Behaviour) -> tuple[np.ndarray, np.ndarray]:
        """The crops that the site works on, (n, d) float32, and the home of each, (n,) int64.

        Of a video that is known to hold an anomaly none is taken for what usually happens.
        """
        store = self.data.store
        learned = [number for number, label in enumerate(self.data.labels) if label != 1]
        entries = [self.data.entries[number] for number in learned]
        rng = keyed_generator(self.plan.seed, 0, self.data.participant, "crops")
        rows, videos = crop_rows(store, entries, present_crops(store, entries, _MOST_ROWS, rng), behaviour.rows)
        homes = np.array([self._scenes.index(self.data.scenes[number]) for number in learned], np.int64)
        return rows, homes[videos]

    def _at_homes(self, state: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Rows of each scene, in order."""
        return [state["rows"][state["rows.home"] == number] for number in range(len(self._scenes))]

    def _adapted(self, mixture: Mixture, rows: np.ndarray) -> tuple[Mixture, Mixture]:
        """The density of all numbers and of those without position, adapted to a home."""
        kept = self._placeless
        both = ((mixture, rows), (mixture.marginal(kept), rows[:, kept]))
        first, second = (adapted(m, x, prior=_PRIOR, weight_prior=_WEIGHT_PRIOR, steps=_STEPS) for m, x in both)
        return first, second

    def _remembered(self, rows: np.ndarray) -> np.ndarray | None:
        """What a home remembers of its rows; None where that is too little."""
        if len(rows) <= NEIGHBOURS:
            return None
        most = most_remembered(self.dim)
        if len(rows) > most:
            rng = keyed_generator(self.plan.seed, 0, self.data.participant, "memory")
            rows = rows[np.sort(rng.choice(len(rows), most, replace=False))]
        return rows

    def _asked(self, payload: Message) -> Mixture:
        """The density in a question."""
        mixture = Mixture(*(np.asarray(payload[name]) for name in ("weights", "means", "covariances")))
        if not mixture.sound() or mixture.means.shape != (COMPONENTS, self.dim):
            raise ClapError(
                f"participant '{self.data.participant}': the density sent to it is impossible, not for its features, "
                "or so narrow that it would single crops out; refused"
            )
        return mixture
