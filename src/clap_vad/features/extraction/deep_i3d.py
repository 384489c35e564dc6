"""What the I3D extractors share: clips of 16 pictures, ten crops, and how published features were prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...errors import ClapError
from ...settings import option
from ..networks.pictures import BILINEAR, LANCZOS, centre_crop, resize, scaled, shorter_side, ten_crops
from .deep import DeepExtractor, Network

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["KINETICS", "SYMMETRIC", "I3DExtractor", "Preparation"]

_SIDE = 224  # of a crop


@dataclass(frozen=True)
class Preparation:
    """How pictures become the input of an I3D network.

    Attributes:
        size: width and height that every picture is brought to; None makes the shorter side 256.
        resample: Pillow's number of the filter.
        mean, deviation: of the grey levels 0..255, the same for the three colours.
        order: the ten crops as numbers of :func:`~clap_vad.features.networks.pictures.ten_crops`.
    """

    size: tuple[int, int] | None
    resample: int
    mean: float
    deviation: float
    order: tuple[int, ...]


KINETICS = Preparation(None, BILINEAR, 114.75, 57.375, tuple(range(10)))
"""What the checkpoint of I3D ResNet-50 was trained with, and what the author of the released RTFM features states."""

SYMMETRIC = Preparation((340, 256), LANCZOS, 127.5, 127.5, (0, 1, 4, 2, 3, 5, 6, 9, 7, 8))
"""Grey levels to -1..1, as in pytorch-i3d-feature-extraction and what was made from it; crops in its order."""


@dataclass(frozen=True, kw_only=True)
class I3DExtractor(DeepExtractor):
    """Base of the I3D extractors."""

    normalise: ClassVar[str] = "none"  # the magnitudes of these features carry the signal

    batch: int = option(5, "Crops that go through the network at once; fewer need less memory.", machine=True)
    crops: int = option(10, "10 as published (corners and centre, also mirrored), or 1: the centre, ten times faster.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crops not in (1, 10):
            raise ClapError(f"crops is {self.crops}; 10 or 1 is needed")

    @property
    def preparation(self) -> Preparation:
        """How its pictures are prepared."""
        return SYMMETRIC

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        width, height = self.preparation.size or shorter_side(picture.shape, 256)
        return resize(picture, width, height, self.preparation.resample)

    def views(self, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Crops of the clip, (16, 224, 224, 3) each; a short segment repeats its last picture."""
        clip = np.stack([*pictures, *[pictures[-1]] * (self.segment_frames - len(pictures))])
        if self.crops == 1:
            return [centre_crop(clip, _SIDE, _SIDE)]
        crops = ten_crops(clip, _SIDE)
        return [crops[number] for number in self.preparation.order]

    def load_i3d(self, make: Callable[[], nn.Module], unused: tuple[str, ...], device: torch.device) -> Network:
        """A network of :mod:`~clap_vad.features.networks` with the weights of the file, behind the scaling."""
        from ..networks.checkpoint import load_network

        network = load_network(make, self.weight_files()[0], unused).to(device)
        mean, deviation = [self.preparation.mean] * 3, [self.preparation.deviation] * 3

        def forward(clips: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = network(scaled(clips, mean, deviation).permute(0, 4, 1, 2, 3))
            return features

        return forward
