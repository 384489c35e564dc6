"""CLAP: collaborative learning of anomalies with privacy (Al-lahham et al., CVPR 2024).

Stage A makes pseudo-labels at each site with a common density, stage B trains one detector on them in rounds, stage C
refines the labels at the site with the detector's scores. ``docs/methods/clap.md`` lists the differences between paper
and released code and the settings for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.pseudo_labels.mixture import (
    NORMAL_CLUSTER,
    anomalous_videos,
    common_density,
    normal_gaussian,
    pooled_gaussian,
)
from ..core.pseudo_labels.windows import LABEL_SHARE, SHORT_VIDEOS, refine, window_labels
from ..features.store.streaming import ENTROPIES, all_video_statistics
from ..federation.ask import Ask, State, Steps
from ..federation.conversation import Turn
from ..federation.messages import Message
from ..federation.policy import RefusalError
from .federated_segregation import (
    MIXTURE_FIT,
    anomalous_by_mixture,
    common_mixture,
    mixture_fit,
    mixture_statistics,
    summary_moments,
)
from .method import METHODS, option
from .plan import Plan, SiteData
from .private_coordinator import STATISTICS, private_steps
from .private_site import PrivateSite
from .rounds import calibration, labelling, normalisation, training_rounds
from .sent import sent_gaussians
from .sgd_method import SgdMethod
from .site import LABELLING, DetectorSite

__all__ = ["Clap", "ClapSite"]

_REFINE_SHARE = 0.1


@METHODS.register("clap")
@dataclass(frozen=True)
class Clap(SgdMethod):
    """Settings of CLAP; defaults are the released code's unless its documentation page states otherwise."""

    momentum: float = option(0.9, "Momentum of local SGD. The release has 0.")
    local_epochs: int = option(2, "Passes over a site's segments per round.")
    entropy: str = option("diagonal", "Entropy of a video: diagonal (release) or von-neumann (paper).", ENTROPIES)
    normal_cluster: str = option(
        "size",
        "Which cluster of videos is normal: the larger one (size), or that with smaller rises (calm).",
        NORMAL_CLUSTER,
    )
    segregation: str = option(
        "local",
        "local: each site splits its videos (paper). federated: one mixture from sums, with density pooled.",
        ("local", "federated"),
    )
    density: str = option(
        "mixture", "Common density: one Gaussian per site (mixture), or one from sums (pooled).", ("mixture", "pooled")
    )
    short_videos: str = option("extreme", "Labels of videos whose window is shorter than two segments.", SHORT_VIDEOS)
    refine: str = option("on", "Refine labels by local feedback (stage C).", ("on", "off"))
    refine_from: int = option(4, "First round that begins with a refinement.")
    refine_mode: str = option(
        "evaluation",
        "Detector in stage C: without dropout (evaluation) or with it (training).",
        ("evaluation", "training"),
    )
    refine_model: str = option("aggregated", "Model whose scores refine the labels.", ("aggregated", "local"))
    refine_labels: str = option(
        "cumulative", "Refine the present labels (cumulative) or the original ones.", ("cumulative", "original")
    )

    @property
    def federated(self) -> bool:
        """True if the sites split their videos by a common mixture."""
        return self.segregation == "federated"

    @property
    def pooled(self) -> bool:
        """True if the common density is one Gaussian from sums; sites then send no Gaussian of their own."""
        return self.federated or self.density == "pooled"

    @property
    def gaussian(self) -> str:
        """Schema of a site's statistics of its normal magnitudes."""
        return "normal_moments" if self.pooled else "normal_gaussian"

    def sums_only(self) -> bool:
        """True unless each site sends its own Gaussian, as in the paper."""
        return self.pooled

    def private_statistics(self) -> int:
        """Supported only if a video's labels depend on no other video: common mixture, refined without dropout."""
        apart = self.federated and self.refine_model == "aggregated" and self.refine_mode == "evaluation"
        return STATISTICS if apart else 0

    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """Common density, training rounds, then the alarm threshold."""
        if plan.spec.privacy is not None:
            yield from private_steps(plan, plan.spec.privacy, state, log, self.normal_cluster, self.momentum)
            return
        yield from normalisation(plan, state)
        yield from self._common_density(state)
        yield from labelling(state, {"gaussians": state["gaussians"]})
        yield from training_rounds(plan, state, log)
        if plan.spec.rounds:
            yield from calibration(state)

    def _common_density(self, state: State) -> Steps:
        if "gaussians" in state:
            return
        question: Message = {}
        if self.federated:
            yield from mixture_fit(state)
            question = common_mixture(state, self.normal_cluster)
        replies = yield Ask("segregate", reply=self.gaussian, payload=question)
        messages = [reply.message for reply in replies]
        if self.pooled:
            total = [float(sum(np.asarray(m[key]) for m in messages)) for key in ("count", "sum", "sumsq")]
            rows = [pooled_gaussian(*total)]
        else:
            # Sorted, so that the order of the rows does not reveal their sites.
            rows = sorted((float(m["count"]), float(m["mean"]), float(m["variance"])) for m in messages)
        state["gaussians"] = np.array(rows)

    def site(self, plan: Plan, data: SiteData) -> ClapSite:
        """The site's side."""
        return ClapSite(self, plan, data)


class ClapSite(DetectorSite):
    """Makes and refines labels at the site; it sends a Gaussian of magnitudes, then model updates."""

    def __init__(self, settings: Clap, plan: Plan, data: SiteData) -> None:
        fit = MIXTURE_FIT if settings.federated else ()
        labelling = (*fit, Turn(("segregate",), lasting=True), LABELLING)
        super().__init__(plan, data, settings.sgd(), settings.milestones(), labelling)
        self._settings = settings
        self.steps["segregate"] = (self._segregate, settings.gaussian)
        self.steps["label"] = (self._label, "segment_count")
        if settings.federated:
            self.steps["summarise"] = (self._summarise, "summary_moments")
            self.steps["mixture"] = (self._mixture, "mixture_statistics")
        if plan.spec.privacy is not None:
            if not settings.private_statistics():
                raise RefusalError("refused a private run: with its settings one video's labels depend on other videos")
            private = PrivateSite(self, plan.spec.privacy, settings.sgd())
            self.steps, self.order = private.steps, private.order

    def summaries(self, state: State) -> np.ndarray:
        """Summaries (V, 2), cached with the magnitudes, so that features are read only once."""
        if "summaries" not in state:
            statistics = all_video_statistics(
                self.data.store, self.data.entries, self.normaliser(state), self._settings.entropy
            )
            state["magnitude"] = np.concatenate([m for m, _ in statistics])
            state["summaries"] = np.stack([summary for _, summary in statistics])
        return state["summaries"]

    def _summarise(self, payload: Message, state: State) -> Message:
        return summary_moments(self.summaries(state), sum(label is None for label in self.data.labels))

    def _mixture(self, payload: Message, state: State) -> Message:
        return mixture_statistics(self.summaries(state), payload)

    def _segregate(self, payload: Message, state: State) -> Message:
        """Stage A, steps 1 to 3: the normal videos, and the Gaussian of their magnitudes."""
        summaries = self.summaries(state)
        anomalous = np.zeros(len(summaries), dtype=bool)
        if self._settings.federated:
            anomalous = anomalous_by_mixture(summaries, payload)
        elif None in self.data.labels:
            anomalous = anomalous_videos(summaries, self._settings.normal_cluster)
        anomalous = state["anomalous"] = self.with_known_labels(anomalous)
        segments = self.source(state).present()
        normal = np.repeat(~anomalous, [entry.segments for entry in self.data.entries])[segments]
        m = state["magnitude"][segments][normal]
        if self._settings.pooled:
            return {"count": len(m), "sum": float(m.sum()), "sumsq": float(np.square(m).sum())}
        count, mean, variance = normal_gaussian(m)
        return {"count": count, "mean": mean, "variance": variance}

    def _label(self, payload: Message, state: State) -> Message:
        """Stage A, step 4."""
        self.make_labels(sent_gaussians(payload), state)
        return {"count": len(self.source(state).present())}

    def make_labels(self, gaussians: np.ndarray, state: State) -> None:
        """Label in each anomalous video the window where the common density of these rows (P, 3) varies most."""
        q = common_density(state["magnitude"], gaussians)
        labels = np.zeros(len(q), dtype=np.float32)
        for part, anomalous in zip(self.slices, state["anomalous"], strict=True):
            if anomalous:
                labels[part] = window_labels(q[part], LABEL_SHARE, "low", self._settings.short_videos)
        state["labels"] = state["original_labels"] = labels

    def before_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Stage C with the aggregated model, at the start of a round."""
        if self._settings.refine_model == "aggregated" and round >= self._settings.refine_from:
            self._refine(weights, round, state)

    def after_training(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        """Stage C with the site's own model before aggregation (released code), for the next round."""
        if self._settings.refine_model == "local" and round + 1 >= self._settings.refine_from:
            self._refine(weights, round, state)

    def _refine(self, weights: Mapping[str, np.ndarray], round: int, state: State) -> None:
        if self._settings.refine == "off" or not state["anomalous"].any():
            return
        present = state["labels" if self._settings.refine_labels == "cumulative" else "original_labels"]
        labels = present.copy()
        scores = self.scores(weights, state, round, dropout=self._settings.refine_mode == "training")
        for part, anomalous, s in zip(self.slices, state["anomalous"], scores, strict=True):
            if anomalous:
                labels[part] = refine(
                    present[part], window_labels(s, _REFINE_SHARE, "high", self._settings.short_videos)
                )
        state["labels"] = labels
