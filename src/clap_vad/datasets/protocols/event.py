"""Protocol ``event``: every participant knows one kind of anomaly."""

from __future__ import annotations

import numpy as np

from ..dataset import Dataset
from ..protocol import PROTOCOLS, check_count, stated_events

__all__ = ["one_class_each"]


@PROTOCOLS.register("event")
def one_class_each(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """One participant per anomaly class, plus an equal share of the other videos, drawn by the seed (CLAP, 4.1).

    The class is the column ``event`` of ``videos.csv``. It decides who holds which video, as if every site had met
    one kind of incident; training never reads it.
    """
    events = stated_events(dataset)
    classes = sorted(set(events) - {""})
    check_count(dataset.path / "videos.csv", "event", "one participant per event class", participants, len(classes))
    normal = [video for video, event in zip(dataset.train_videos, events, strict=True) if not event]
    order = np.random.default_rng(seed).permutation(len(normal))
    shares = np.array_split(order, len(classes))
    return {
        name: [video for video, event in zip(dataset.train_videos, events, strict=True) if event == name]
        + [normal[index] for index in np.sort(share)]
        for name, share in zip(classes, shares, strict=True)
    }
