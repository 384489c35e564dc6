"""I3D ResNet-50: the 2048-d features of papers on UCF-Crime and ShanghaiTech, with a checkpoint given by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...settings import option
from ..extraction.deep import Network
from ..extraction.deep_i3d import KINETICS, SYMMETRIC, I3DExtractor, Preparation
from ..extraction.extractor import EXTRACTORS

if TYPE_CHECKING:
    import torch

__all__ = ["I3DR50"]


@EXTRACTORS.register("i3d-r50")
@dataclass(frozen=True, kw_only=True)
class I3DR50(I3DExtractor):
    """Features (T, 10, 2048), or (T, 1, 2048) of the centre crop."""

    scaling: Literal["kinetics", "symmetric"] = option(
        "kinetics", "Preparation of pictures. kinetics: as in training; symmetric: 340 x 256 pixels, scaled to -1..1."
    )

    @property
    def dim(self) -> int:
        return 2048

    @property
    def preparation(self) -> Preparation:
        return KINETICS if self.scaling == "kinetics" else SYMMETRIC

    def load(self, device: torch.device) -> Network:
        from ..networks.i3d_r50 import UNUSED, I3DResNet50

        return self.load_i3d(I3DResNet50, UNUSED, device)
