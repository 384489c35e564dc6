"""Protocol ``scene``: one participant per scene."""

from __future__ import annotations

from ...errors import ClapError
from ..dataset import Dataset
from ..protocol import PROTOCOLS, check_count

__all__ = ["one_scene_each"]


@PROTOCOLS.register("scene")
def one_scene_each(dataset: Dataset, participants: int | None, seed: int) -> dict[str, list[str]]:
    """One participant per scene (camera, place, type of place), the column ``scene`` of ``videos.csv``.

    The seed has no effect.
    """
    file = dataset.path / "videos.csv"
    records = [dataset.videos[name] for name in dataset.train_videos]
    unknown = [record.video for record in records if not record.scene]
    if unknown:
        raise ClapError(
            f"{file}: {len(unknown)} of {len(records)} training videos have no scene (first: '{unknown[0]}'); "
            "fill the column 'scene' or use --protocol random"
        )
    scenes = sorted({record.scene for record in records})
    check_count(file, "scene", "one participant per scene", participants, len(scenes))
    return {scene: [record.video for record in records if record.scene == scene] for scene in scenes}
