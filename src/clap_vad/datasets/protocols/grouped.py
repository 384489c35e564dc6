"""Protocol ``grouped``: several scenes per participant."""

from __future__ import annotations

from ...errors import ClapError
from ..dataset import Dataset
from ..protocol import PROTOCOLS
from .scene import one_scene_each

__all__ = ["scenes_in_groups"]


@PROTOCOLS.register("grouped")
def scenes_in_groups(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """Participants ``site-1``, ``site-2``, ... (default 3) of whole scenes, with similar numbers of videos.

    Scenes are assigned by decreasing size, each to the participant with the fewest videos. The seed has no effect.
    """
    scenes = one_scene_each(dataset, None, seed)
    count = 3 if participants is None else participants
    if count > len(scenes):
        raise ClapError(
            f"{dataset.path / 'videos.csv'}: {len(scenes)} scenes are too few for {count} participants; "
            "use fewer participants or --protocol random"
        )
    groups: dict[str, list[str]] = {f"site-{i + 1}": [] for i in range(count)}
    for scene in sorted(scenes, key=lambda scene: (-len(scenes[scene]), scene)):
        smallest = min(groups, key=lambda name: len(groups[name]))
        groups[smallest] += scenes[scene]
    return groups
