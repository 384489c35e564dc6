"""Protocol ``dirichlet``: every event class is divided unevenly; ``alpha`` sets the skew."""

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
    """P participants (default 5); each event class is divided among them in proportions drawn from Dir(alpha).

    The class is the column ``event`` of ``videos.csv``; videos without an event form one more class. Every participant
    has at least one video (see :func:`deal`), in list order.

    Raises:
        ClapError: alpha is not a finite number above 0, no training video has an event, or P exceeds the videos.
    """
    if not (alpha > 0 and math.isfinite(alpha)):
        raise ClapError(f"--alpha is {alpha}; give a finite number above 0")
    events = stated_events(dataset)
    ids = numbered_participants(dataset, "dirichlet", participants)
    holders = deal(events, len(ids), alpha, np.random.default_rng(seed))
    held: dict[str, list[str]] = {name: [] for name in ids}
    for video, holder in zip(dataset.train_videos, holders.tolist(), strict=True):
        held[ids[holder]].append(video)
    return held


def deal(classes: Sequence[str], count: int, alpha: float, random: np.random.Generator) -> np.ndarray:
    """The participant of each of N videos, (N,) int64 in 0..``count`` - 1; ``count`` is at most N.

    Participant j gets the proportion p_kj of class k, p_k ~ Dir(alpha, ..., alpha), rounded to whole videos: the
    "distribution-based label imbalance" of Li et al. (2022, "Federated learning on non-IID data silos"), with their
    default 0.5. Hsu, Qi and Brown (2019, "Measuring the effects of non-identical data distribution for federated visual
    classification") introduced alpha, but draw the classes of each participant instead. Both avoid empty participants
    by other rules; here each empty participant, in order, gets one video drawn from the participant with the most.
    """
    names = np.asarray(classes)
    holders = np.empty(len(names), dtype=np.int64)
    concentration = np.full(count, min(alpha, 1e100))  # above it the draw overflows; the shares are equal anyway
    for name in np.unique(names):
        members = random.permutation(np.flatnonzero(names == name))
        cuts = np.rint(np.cumsum(random.dirichlet(concentration))[:-1] * len(members)).astype(np.int64)
        for holder, share in enumerate(np.split(members, cuts)):
            holders[share] = holder
    for empty in np.setdiff1d(np.arange(count), holders):
        largest = np.bincount(holders).argmax()
        holders[random.choice(np.flatnonzero(holders == largest))] = empty
    return holders
