"""Protocol ``event``: every participant knows one kind of anomaly."""

from __future__ import annotations

import numpy as np

from ...errors import ClapError
from ..dataset import Dataset
from ..partition import PROTOCOLS, check_count

__all__ = ["one_class_each"]


@PROTOCOLS.register("event")
def one_class_each(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """One participant per anomaly class, plus an equal share of the other videos, drawn by the seed (CLAP, 4.1).

    The class is the column ``event`` of ``videos.csv``. It decides who holds which video, as if every site had met
    one kind of incident; training never reads it.
    """
    file = dataset.path / "videos.csv"
    records = [dataset.videos[name] for name in dataset.train_videos]
    classes = sorted({record.event for record in records if record.event})
    if not classes:
        raise ClapError(f"{file}: no training video states an event; fill that column or use --protocol random")
    check_count(file, "event", "one participant per event class", participants, len(classes))
    normal = [record.video for record in records if not record.event]
    order = np.random.default_rng(seed).permutation(len(normal))
    shares = np.array_split(order, len(classes))
    return {
        name: [record.video for record in records if record.event == name] + [normal[index] for index in np.sort(share)]
        for name, share in zip(classes, shares, strict=True)
    }
