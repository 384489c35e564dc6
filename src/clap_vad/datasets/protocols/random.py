"""Protocol ``random``: equal shares, drawn by a seed."""

from __future__ import annotations

import numpy as np

from ...errors import ClapError
from ..dataset import Dataset
from ..partition import PROTOCOLS

__all__ = ["DEFAULT_PARTICIPANTS", "random_shares"]

DEFAULT_PARTICIPANTS = 5


@PROTOCOLS.register("random")
def random_shares(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """P participants whose shares differ by at most one video; P = 5 unless told (CLAP, section 4.1).

    A participant's videos stand in list order, so that only the draw depends on the seed.
    """
    count = DEFAULT_PARTICIPANTS if participants is None else participants
    videos = dataset.train_videos
    if count > len(videos):
        raise ClapError(
            f"{dataset.path / 'videos.csv'}: {len(videos)} training videos are too few for {count} participants; "
            "ask for fewer with 'clap dataset partition DATASET --protocol random --participants P'"
        )
    order = np.random.default_rng(seed).permutation(len(videos))
    width = max(2, len(str(count)))
    return {
        f"participant-{number:0{width}d}": [videos[index] for index in np.sort(share)]
        for number, share in enumerate(np.array_split(order, count), start=1)
    }
