"""Protocol ``event``: every participant has one class of anomalies."""

from __future__ import annotations

import numpy as np

from ..dataset import Dataset
from ..protocol import PROTOCOLS, check_count, stated_events

__all__ = ["one_class_each"]


@PROTOCOLS.register("event")
def one_class_each(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """One participant per anomaly class, with an equal random share of the other videos (CLAP, section 4.1).

    The class is the column ``event`` of ``videos.csv``. It is used only for the partition, as if every site had seen
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
