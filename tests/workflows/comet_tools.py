"""Runs of COMET, its sites, and datasets for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from clap_vad.algorithms.comet_site import CometSite
from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import Plan
from clap_vad.algorithms.site_data import site_data
from clap_vad.core.density.gaussian_mixture import COMPONENTS, Mixture
from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.detector.personalised import PersonalisedModels
from clap_vad.evaluation.scoring import score_test_videos
from clap_vad.features.roles import Roles
from clap_vad.features.store.writer import StoreWriter
from clap_vad.federation.ask import State
from clap_vad.federation.privacy import KEY
from clap_vad.workflows.federate import Federation
from synthetic import SCENES, comet_terms, make_plan

COMET = make_method("comet", {})
ROLES = Roles(activity=(0, 1, 2, 3, 4), position=(3, 4), followed=True)
PLACED = Roles(position=(3, 4), followed=True)


def by_scene(dataset: Dataset) -> dict[str, list[str]]:
    return {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}


def run(
    folder: Path, dataset: Dataset, held: Mapping[str, Sequence[str]], **changes: Any
) -> tuple[Federation, State, Plan]:
    given = {"dim": dataset.stores[0].dim, "rounds": 3, **changes}
    terms = {name: given.pop(name) for name in ("epsilon", "unit") if name in given}
    plan = make_plan(participants=tuple(held), privacy=comet_terms(given["rounds"], **terms), **given)
    federation = Federation(folder, dataset, held, plan, COMET)
    return federation, federation.run(), plan


def homes_of(federation: Federation, state: State, plan: Plan) -> PersonalisedModels:
    info = {"dim": plan.dim, "segment_frames": 16}
    return PersonalisedModels(COMET.model(plan, state, info), federation.personalised(state))


def auc(dataset: Dataset, personalised: PersonalisedModels) -> float:
    scores = score_test_videos(dataset, personalised, 1)
    truth = [dataset.frame_labels(video)[::16] for video in scores]
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(list(scores.values()))))


def store_of(path: Path, videos: Mapping[str, tuple[np.ndarray, np.ndarray | None]], scenes: Sequence[str]) -> Dataset:
    """A dataset of these training videos."""
    first, mask = next(iter(videos.values()))
    _, crops, dim = first.shape
    settings: dict[str, Any] = {"extractor": "synthetic", "settings": {}, "crops": crops, "dim": dim}
    with StoreWriter(path / "store", with_valid=mask is not None, **settings) as writer:
        for name, (x, valid) in videos.items():
            writer.append(name, [x if valid is None else (x, valid)], frames=len(x) * 16, fps=25.0)
        writer.finish()
    write_videos_csv(path / "videos.csv", [VideoRecord(v, "train", s) for v, s in zip(videos, scenes, strict=True)])
    return Dataset(path)


def noise(T: int, C: int = 2, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, C, dim)).astype(np.float32)


QUESTION = {KEY: np.zeros(32, np.uint8)}


def usual(d: int = 6) -> Mixture:
    rng = np.random.default_rng(0)
    weights = np.full(COMPONENTS, 1 / COMPONENTS)
    return Mixture(weights, rng.normal(size=(COMPONENTS, d)), np.tile(np.eye(d), (COMPONENTS, 1, 1)))


def question(mixture: Mixture) -> dict[str, np.ndarray]:
    return {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}


def private_plan(unit: str = "crop", epsilon: float = 8.0, roles: Roles | None = None, **changes: Any) -> Plan:
    return make_plan(
        dim=6, rounds=1, roles=roles or Roles(), privacy=comet_terms(1, epsilon=epsilon, unit=unit), **changes
    )


def site_of(made: Dataset, videos: Sequence[str], plan: Plan) -> CometSite:
    return CometSite(plan, site_data(made, "p", videos))
