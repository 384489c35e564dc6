"""The best round on the test labels, as released code selects it: for comparison only, never the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .spread import mean_and_std

__all__ = ["best_round"]


def best_round(logs: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """The best round of every model.

    Args:
        logs: records of the rounds of each model (one model, or one per participant in setting local).

    Returns:
        ``frame_auc_best_round`` (in setting local the mean over the participants' best rounds) and ``best_round``
        (its number, None for several models); both None if no round has an AUC.

    >>> best_round([[{"round": 1, "frame_auc": 0.8}, {"round": 2, "frame_auc": 0.7}]])
    {'frame_auc_best_round': 0.8, 'best_round': 1}
    """
    best = []
    for log in logs:
        known = [(record["frame_auc"], -record["round"]) for record in log if record.get("frame_auc") is not None]
        best.append(max(known) if known else (None, 0))
    number = -best[0][1] or None
    return {
        "frame_auc_best_round": mean_and_std([auc for auc, _ in best])[0],
        "best_round": number if len(best) == 1 else None,
    }
