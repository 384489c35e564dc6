"""Protocol ``random``: equal shares, drawn by a seed."""

from __future__ import annotations

import numpy as np

from ..dataset import Dataset
from ..protocol import PROTOCOLS, numbered_participants

__all__ = ["random_shares"]


@PROTOCOLS.register("random")
def random_shares(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """P participants whose shares differ by at most one video; P = 5 unless told (CLAP, section 4.1).

    A participant's videos stand in list order, so that only the draw depends on the seed.
    """
    ids, videos = numbered_participants(dataset, "random", participants), dataset.train_videos
    order = np.random.default_rng(seed).permutation(len(videos))
    shares = np.array_split(order, len(ids))
    return {name: [videos[index] for index in np.sort(share)] for name, share in zip(ids, shares, strict=True)}
