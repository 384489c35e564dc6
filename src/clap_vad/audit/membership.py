"""Membership inference: how well models trained as a run's tell the videos they were trained on from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..detector.personalised import PersonalisedModels
from ..evaluation.scoring import score_dataset
from ..features.store.description import describe
from ..workflows.opening import Opened
from .attacks.membership import SIGNALS, auc_interval, halves, likelihood_ratio, threshold_signals

__all__ = ["membership"]


def membership(opened: Opened, shadow_models: int, noised: bool, scratch: Path) -> dict[str, Any]:
    """Train the run again on random halves of every participant's videos, and guess which half.

    Each model is as long in training as the run, on half of its videos; two models are a split. All models are
    attacked, each with those of the other splits as shadow models.

    Args:
        opened: the run's configuration.
        shadow_models: models to train, an even number from 4; 0 leaves the attack out.
        noised: whether sites add noise, of which secure aggregation then decides how much.
        scratch: an empty folder.

    Returns:
        Per signal ``auc``, ``low`` and ``high`` (None where nothing could be attacked), and in ``meaning`` what they
        mean.
    """
    videos = [video for held in opened.participants.values() if len(held) > 1 for video in held]
    result: dict[str, Any] = {"shadow_models": shadow_models, "videos": len(videos)}
    if not shadow_models or not videos:
        why = "no models were to be trained" if not shadow_models else "every participant has a single video"
        return result | dict.fromkeys(SIGNALS) | {"meaning": f"The attack was not mounted: {why}."}
    # Masks change the model by rounding alone, and cost most of the time.
    plan = opened.plan.having(secure_aggregation=opened.plan.spec.secure_aggregation and noised)
    trained, told = [], []
    for split in range(shadow_models // 2):
        for side, held in enumerate(halves(opened.participants, plan.spec.seed, split)):
            chosen = {video for own in held.values() for video in own}
            trained.append([video in chosen for video in videos])
            told.append(_scores(replace(opened, plan=plan), held, videos, scratch / f"split-{split}-{side}"))
    members = np.array(trained)
    signals = np.stack([_signals(told, members, model) for model in range(shadow_models)])  # (M, signals, V)
    areas = {signal: auc_interval(signals[:, i], members, plan.spec.seed) for i, signal in enumerate(SIGNALS)}
    result |= {signal: dict(zip(("auc", "low", "high"), area, strict=True)) for signal, area in areas.items()}
    found = [signal.replace("_", " ") for signal, (_, low, _) in areas.items() if low > 0.5]
    meaning = (
        f"Of {len(videos)} training videos, those trained on can be told from those left out better than by a coin: by "
        f"{', '.join(found)}."
        if found
        else "No signal tells videos trained on from those left out; that proves nothing about better attacks."
    )
    return result | {"meaning": meaning + " Secure aggregation does not change the model, and hides nothing here."}


def _scores(opened: Opened, held: Mapping[str, Sequence[str]], videos: Sequence[str], folder: Path) -> list[np.ndarray]:
    """s[t] of the videos by a model of the whole run on these videos alone."""
    state = opened.federation(folder, held).run()
    model = opened.method.model(opened.plan, state, describe(opened.dataset.stores[0]))
    found = score_dataset(opened.dataset, videos, PersonalisedModels(model), opened.plan.spec.threads)
    return [found[video] for video in videos]


def _signals(told: Sequence[Sequence[np.ndarray]], members: np.ndarray, model: int) -> np.ndarray:
    """All signals of a model, (signals, V), in the order of their names."""
    others = [other for other in range(len(told)) if other // 2 != model // 2]
    ratio = likelihood_ratio(told[model], [told[other] for other in others], members[others])
    found = {**threshold_signals(told[model]), "likelihood_ratio": ratio}
    return np.stack([found[signal] for signal in SIGNALS])
