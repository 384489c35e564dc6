"""Protocol ``random``: equal random shares."""

from __future__ import annotations

import numpy as np

from ..dataset import Dataset
from ..protocol import PROTOCOLS, numbered_participants

__all__ = ["random_shares"]


@PROTOCOLS.register("random")
def random_shares(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """P participants (default 5) whose shares differ by at most one video (CLAP, section 4.1).

    A participant's videos are in list order.
    """
    ids, videos = numbered_participants(dataset, "random", participants), dataset.train_videos
    order = np.random.default_rng(seed).permutation(len(videos))
    shares = np.array_split(order, len(ids))
    return {name: [videos[index] for index in np.sort(share)] for name, share in zip(ids, shares, strict=True)}
