"""Membership inference: can a model's scores distinguish its training videos from other videos?"""

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
    """Train the run again on random halves of every participant's videos, and guess which half was used.

    Each model trains as long as the run, on half of its videos; two models form a split. All models are attacked, each
    with the models of the other splits as shadow models.

    Args:
        opened: the run's configuration.
        shadow_models: models to train, an even number of at least 4; 0 skips the attack.
        noised: True if sites add noise; secure aggregation then decides its amount.
        scratch: an empty folder.

    Returns:
        Per signal ``auc``, ``low`` and ``high`` (None if there was nothing to attack), and ``meaning``: the result in
        sentences.
    """
    videos = [video for held in opened.participants.values() if len(held) > 1 for video in held]
    result: dict[str, Any] = {"shadow_models": shadow_models, "videos": len(videos)}
    if not shadow_models or not videos:
        why = "no shadow models were requested" if not shadow_models else "every participant has a single video"
        return result | dict.fromkeys(SIGNALS) | {"meaning": f"The attack was not run: {why}."}
    # Masks change the model only by rounding, but take most of the time.
    plan = opened.plan.having(secure_aggregation=opened.plan.spec.secure_aggregation and noised)
    trained, scored = [], []
    for split in range(shadow_models // 2):
        for side, held in enumerate(halves(opened.participants, plan.spec.seed, split)):
            chosen = {video for own in held.values() for video in own}
            trained.append([video in chosen for video in videos])
            scored.append(_scores(replace(opened, plan=plan), held, videos, scratch / f"split-{split}-{side}"))
    members = np.array(trained)
    signals = np.stack([_signals(scored, members, model) for model in range(shadow_models)])  # (M, signals, V)
    areas = {signal: auc_interval(signals[:, i], members, plan.spec.seed) for i, signal in enumerate(SIGNALS)}
    result |= {signal: dict(zip(("auc", "low", "high"), area, strict=True)) for signal, area in areas.items()}
    found = [signal.replace("_", " ") for signal, (_, low, _) in areas.items() if low > 0.5]
    meaning = (
        f"Among {len(videos)} videos, those used for training are distinguished from the others better than by chance: "
        f"by {', '.join(found)}."
        if found
        else "No signal distinguishes videos used for training from the others; a better attack still might."
    )
    return result | {"meaning": meaning + " Secure aggregation does not change the model, so it hides nothing here."}


def _scores(opened: Opened, held: Mapping[str, Sequence[str]], videos: Sequence[str], folder: Path) -> list[np.ndarray]:
    """s[t] of the videos by a model trained as the run on the ``held`` videos only."""
    state = opened.federation(folder, held).run()
    model = opened.method.model(opened.plan, state, describe(opened.dataset.stores[0]))
    found = score_dataset(opened.dataset, videos, PersonalisedModels(model), opened.plan.spec.threads)
    return [found[video] for video in videos]


def _signals(scored: Sequence[Sequence[np.ndarray]], members: np.ndarray, model: int) -> np.ndarray:
    """All signals of a model, (signals, V), in the order of their names."""
    others = [other for other in range(len(scored)) if other // 2 != model // 2]
    ratio = likelihood_ratio(scored[model], [scored[other] for other in others], members[others])
    found = {**threshold_signals(scored[model]), "likelihood_ratio": ratio}
    return np.stack([found[signal] for signal in SIGNALS])
