"""The models of a run: the common model, and the models personalised for single cameras.

RUN/model.json, model.safetensors     common model of all sites
RUN/homes.json                        scene -> folder below RUN
RUN/homes/NAME/                       personalised model of one scene; it never leaves its site
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ClapError
from ..persistence import read_json, write_json
from .model import Model

__all__ = ["PersonalisedModels"]


@dataclass(frozen=True)
class PersonalisedModels:
    """The common model and the personalised models.

    Attributes:
        common: scores videos of scenes without a personalised model.
        own: scene -> its personalised model.
    """

    common: Model
    own: Mapping[str, Model] = field(default_factory=dict)

    def of(self, scene: str) -> Model:
        """The model for a scene."""
        return self.own.get(scene, self.common)

    def save(self, folder: Path) -> str:
        """Write all models; returns the SHA-256 of the common one's arrays."""
        sha256 = self.common.save(folder)
        if self.own:
            names = {scene: f"homes/{_folder_name(scene)}" for scene in self.own}
            for scene, model in self.own.items():
                model.save(folder / names[scene])
            write_json(folder / "homes.json", names)
        return sha256

    @classmethod
    def load(cls, folder: Path) -> PersonalisedModels:
        """Read all models.

        Raises:
            ClapError: as :meth:`~clap_vad.detector.model.Model.load`, or ``homes.json`` is damaged.
        """
        common, file = Model.load(folder), folder / "homes.json"
        if not file.exists():
            return cls(common)
        names = read_json(file)
        if not isinstance(names, dict) or names != {scene: f"homes/{_folder_name(scene)}" for scene in names}:
            raise ClapError(f"{file}: not a list of personalised models; restore it or train again")
        own = {scene: Model.load(folder / name) for scene, name in names.items()}
        if odd := [scene for scene, model in own.items() if model.dim != common.dim]:
            raise ClapError(
                f"{folder / names[odd[0]]}: its features differ from those of {folder / 'model.json'}; restore it"
            )
        return cls(common, own)


def _folder_name(scene: str) -> str:
    """A folder name that is valid on every file system."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", scene):
        return scene
    return f"scene-{hashlib.sha256(scene.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
