"""I3D Inception-v1: the 1024-d RGB features of many papers, with a checkpoint given by the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..extraction.deep import Network
from ..extraction.deep_i3d import I3DExtractor
from ..extraction.extractor import EXTRACTORS

if TYPE_CHECKING:
    import torch

__all__ = ["I3DInceptionV1"]


@EXTRACTORS.register("i3d-inception")
@dataclass(frozen=True, kw_only=True)
class I3DInceptionV1(I3DExtractor):
    """Features (T, 10, 1024), or (T, 1, 1024) of the centre crop."""

    @property
    def dim(self) -> int:
        return 1024

    def load(self, device: torch.device) -> Network:
        from ..networks.i3d_inception import UNUSED, I3DInception

        return self.load_i3d(I3DInception, UNUSED, device)
