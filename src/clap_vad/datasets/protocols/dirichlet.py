"""Protocol ``dirichlet``: every event class is divided unevenly, and how unevenly can be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from ...errors import ClapError
from ..dataset import Dataset
from ..protocol import PROTOCOLS, numbered_participants, stated_events

__all__ = ["deal", "skewed_shares"]


@PROTOCOLS.register("dirichlet")
def skewed_shares(
    dataset: Dataset,
    participants: int | None,
    seed: int,
    alpha: Annotated[
        float, "Skew of the event classes. Near 0: one participant holds a class. Large: equal shares."
    ] = 0.5,
) -> dict[str, list[str]]:
    """P participants, 5 unless told, among whom each event class is divided in proportions drawn from Dir(alpha).

    The class is the column ``event`` of ``videos.csv``; videos without one form a class of their own. Every
    participant holds a video at least (see :func:`deal`), in list order.

    Raises:
        ClapError: alpha is no finite number above 0, no training video states an event, or P exceeds the videos.
    """
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ClapError(f"--alpha is {alpha}; a finite number above 0 is needed")
    events = stated_events(dataset)
    ids = numbered_participants(dataset, "dirichlet", participants)
    holders = deal(events, len(ids), alpha, np.random.default_rng(seed))
    held: dict[str, list[str]] = {name: [] for name in ids}
    for video, holder in zip(dataset.train_videos, holders.tolist(), strict=True):
        held[ids[holder]].append(video)
    return held


def deal(classes: Sequence[str], count: int, alpha: float, random: np.random.Generator) -> np.ndarray:
    """Who of ``count`` participants holds each of N videos, shape (N,), int64; ``count`` is N at most.

    Class k goes to participant j in proportion p_kj, p_k ~ Dir(alpha, ..., alpha), cut at the nearest whole video:
    the "distribution-based label imbalance" of Li et al. (2022, "Federated learning on non-IID data silos"), whose
    parameter 0.5 is the default here. Hsu, Qi and Brown (2019, "Measuring the effects of non-identical data
    distribution for federated visual classification"), from whom alpha comes, draw the classes of each participant
    instead. Neither lets a participant be empty, by other rules; here the empty ones, in order, get one video each,
    drawn from whoever then holds most.
    """
    names = np.asarray(classes)
    holders = np.empty(len(names), dtype=np.int64)
    concentration = np.full(count, min(alpha, 1e100))  # beyond it the draw overflows, and shares are equal anyway
    for name in np.unique(names):
        members = random.permutation(np.flatnonzero(names == name))
        cuts = np.rint(np.cumsum(random.dirichlet(concentration))[:-1] * len(members)).astype(np.int64)
        for holder, share in enumerate(np.split(members, cuts)):
            holders[share] = holder
    for empty in np.setdiff1d(np.arange(count), holders):
        largest = np.bincount(holders).argmax()
        holders[random.choice(np.flatnonzero(holders == largest))] = empty
    return holders
