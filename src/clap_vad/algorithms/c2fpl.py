"""C2FPL: coarse-to-fine pseudo-labels (Al-lahham et al., WACV 2024), computed at each site separately.

The coarse stage splits a site's videos by mean and variance of their magnitudes. The fine stage labels, in each
anomalous video, the window in which the likelihood under normal segments varies most. The common detector is trained on
these labels. ``docs/methods/c2fpl.md`` lists the differences between paper and released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.pseudo_labels.c2fpl_segregation import (
    ANOMALOUS_CLUSTER,
    coarse_anomalous_videos,
    magnitude_summary,
    p_values,
)
from ..core.pseudo_labels.mixture import common_density, normal_gaussian
from ..core.pseudo_labels.windows import LABEL_SHARE, SHORT_VIDEOS, window_labels
from ..errors import ClapError
from ..features.store.streaming import all_video_magnitudes
from ..federation.ask import State, Steps
from ..federation.messages import Message
from .method import METHODS, option
from .plan import Plan, SiteData
from .rounds import calibration, labelling, normalisation, training_rounds
from .sgd_method import SgdMethod
from .site import DetectorSite

__all__ = ["C2fpl", "C2fplSite"]


@METHODS.register("c2fpl")
@dataclass(frozen=True)
class C2fpl(SgdMethod):
    """Settings of C2FPL; defaults are the paper's unless its documentation page states otherwise."""

    momentum: float = option(0.9, "Momentum of local SGD.")
    nesterov: str = option("on", "Use Nesterov momentum.", ("on", "off"))
    weight_decay: float = option(5e-4, "L2 coefficient (weight decay) of local SGD.")
    lr_milestones: str = option("15,25", "Epochs, comma-separated, at which the learning rate is divided by 10.")
    local_epochs: int = option(2, "Passes over a site's segments per round.")
    eta: float = option(1.0, "Videos move to the anomalous bag until it holds this many per normal video.")
    anomalous_cluster: str = option(
        "smaller", "Which cluster is anomalous: the smaller one (paper) or component 1 (release).", ANOMALOUS_CLUSTER
    )
    evidence: str = option(
        "density", "What is followed along a video: density (release) or p-value (paper).", ("density", "p-value")
    )
    short_videos: str = option("extreme", "Labels of videos whose window is shorter than two segments.", SHORT_VIDEOS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eta < 0:
            raise ClapError(f"--eta is {self.eta}; give a number of at least 0")

    def coordinate(self, plan: Plan, state: State, log: Callable[[dict[str, Any]], None]) -> Steps:
        """Labelling at the sites, training rounds, then the alarm threshold."""
        yield from normalisation(plan, state)
        yield from labelling(state)
        yield from training_rounds(plan, state, log)
        if plan.spec.rounds:
            yield from calibration(state)

    def site(self, plan: Plan, data: SiteData) -> C2fplSite:
        """The site's side."""
        return C2fplSite(self, plan, data)


class C2fplSite(DetectorSite):
    """Makes labels from this site's own videos only; it sends its number of training segments, then model updates."""

    def __init__(self, settings: C2fpl, plan: Plan, data: SiteData) -> None:
        super().__init__(plan, data, settings.sgd(), settings.milestones())
        self._settings = settings
        self.steps["label"] = (self._label, "segment_count")

    def _label(self, payload: Message, state: State) -> Message:
        """Both stages: anomalous videos, then their anomalous segments."""
        settings = self._settings
        magnitudes = all_video_magnitudes(self.data.store, self.data.entries, self.normaliser(state))
        anomalous = np.zeros(len(magnitudes), dtype=bool)
        if None in self.data.labels:
            summaries = np.stack([magnitude_summary(m) for m in magnitudes])
            anomalous = coarse_anomalous_videos(summaries, settings.eta, settings.anomalous_cluster)
        anomalous = self.with_known_labels(anomalous)
        m, present = np.concatenate(magnitudes), self.source(state).present()
        normal = np.repeat(~anomalous, [entry.segments for entry in self.data.entries])[present]
        gaussian = normal_gaussian(m[present][normal])
        density = settings.evidence == "density"
        evidence = common_density(m, np.array([gaussian])) if density else p_values(m, *gaussian)
        labels = np.zeros(len(m), dtype=np.float32)
        for part, suspicious in zip(self.slices, anomalous, strict=True):
            if suspicious:
                labels[part] = window_labels(evidence[part], LABEL_SHARE, "low", settings.short_videos)
        state["labels"] = labels
        return {"count": len(present)}
