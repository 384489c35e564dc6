"""Protocol ``grouped``: several scenes to a participant."""

from __future__ import annotations

from ...errors import ClapError
from ..dataset import Dataset
from ..protocol import PROTOCOLS
from .scene import one_scene_each

__all__ = ["scenes_in_groups"]


@PROTOCOLS.register("grouped")
def scenes_in_groups(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """Participants ``site-1``, ``site-2`` and so on, as equal in videos as whole scenes allow; 3 by default.

    The largest scene that is left goes to the participant with the fewest videos. Nothing is drawn: the seed changes
    nothing.
    """
    scenes = one_scene_each(dataset, None, seed)
    count = 3 if participants is None else participants
    if count > len(scenes):
        raise ClapError(
            f"{dataset.path / 'videos.csv'}: {len(scenes)} scenes cannot be dealt to {count} participants; "
            "ask for fewer, or use --protocol random"
        )
    groups: dict[str, list[str]] = {f"site-{i + 1}": [] for i in range(count)}
    for scene in sorted(scenes, key=lambda scene: (-len(scenes[scene]), scene)):
        smallest = min(groups, key=lambda name: len(groups[name]))
        groups[smallest] += scenes[scene]
    return groups
