"""A small dataset with real files: four cameras, bursts of large features as anomalies."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import Plan
from clap_vad.core.statistics.accounting import Terms, calibrated
from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
from clap_vad.features.store.writer import StoreWriter
from clap_vad.federation.strategy import make_strategy
from clap_vad.persistence import save_npz
from clap_vad.specification.run import RunSpecification

SCENES = ("north", "south", "east", "west")


def make_dataset(
    path: Path, *, videos: int = 5, dim: int = 16, crops: int = 2, test: bool = True, seed: int = 0
) -> Path:
    """Per scene so many training and three test videos; every third one holds a burst."""
    rng = np.random.default_rng(seed)
    records, truth = [], {}
    with StoreWriter(
        path / "store", extractor="synthetic", settings={}, crops=crops, dim=dim, normalise="none"
    ) as writer:
        for scene in SCENES:
            for split, count in (("train", videos), ("test", 3 if test else 0)):
                for number in range(count):
                    name, length = f"{scene}-{split}-{number}", int(rng.integers(12, 30))
                    x = np.abs(rng.normal(1, 0.1, (length, crops, dim))).astype(np.float32)
                    labels = np.zeros(length * 16, np.uint8)
                    if number % 3 == 1:
                        start = int(rng.integers(2, length - 6))
                        x[start : start + 4] *= rng.uniform(1.5, 3, (4, crops, dim)).astype(np.float32)
                        labels[start * 16 : (start + 4) * 16] = 1
                    writer.append(name, [x], frames=length * 16, fps=25.0)
                    records.append(VideoRecord(name, split, scene, "", int(labels.any())))
                    if split == "test":
                        truth[name] = labels
        writer.finish()
    if truth:
        save_npz(path / "frame_labels.npz", truth)
    write_videos_csv(path / "videos.csv", records)
    return path


def make_plan(strategy: str = "fedavg", settings: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """A plan that fits the dataset above."""
    made = dataclasses.asdict(make_strategy(strategy, settings or {}))
    given = {"rounds": 2, "seed": 0, "normalise": "none", "threads": 1, **changes}
    given["secure_aggregation"] = given.pop("secure", False)
    own = {name: given.pop(name) for name in ("participants", "dim", "roles") if name in given}
    spec = RunSpecification(method="clap", strategy=strategy, strategy_options=made, **given)
    return Plan(spec, **{"participants": SCENES, "dim": 16, **own})


@lru_cache
def comet_terms(rounds: int = 2, *, epsilon: float = math.inf, unit: str = "crop", seed: int | None = 0) -> Terms:
    """Terms of a COMET run of so many rounds; by default without noise."""
    comet = make_method("comet", {})
    counts = {"statistics": comet.private_statistics(), "rounds": comet.private_rounds(rounds)}
    return calibrated(epsilon, 1e-6, clip=1.0, sampling=1.0, lr=0.1, **counts, seed=seed, unit=unit)
