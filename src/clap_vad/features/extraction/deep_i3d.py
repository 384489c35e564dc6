"""Base class of I3D extractors: clips of 16 pictures, ten crops, and the preparation of published features."""

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

_SIDE = 224  # pixels of a crop


@dataclass(frozen=True)
class Preparation:
    """Preparation of pictures for an I3D network.

    Attributes:
        size: width and height after resizing; None resizes the shorter side to 256.
        resample: Pillow's number of the filter.
        mean, deviation: for grey levels 0..255, the same for the three colours.
        order: the order of the ten crops, as indices into :func:`~clap_vad.features.networks.pictures.ten_crops`.
    """

    size: tuple[int, int] | None
    resample: int
    mean: float
    deviation: float
    order: tuple[int, ...]


KINETICS = Preparation(None, BILINEAR, 114.75, 57.375, tuple(range(10)))
"""As in the training of the I3D ResNet-50 checkpoint; stated by the author of the released RTFM features."""

SYMMETRIC = Preparation((340, 256), LANCZOS, 127.5, 127.5, (0, 1, 4, 2, 3, 5, 6, 9, 7, 8))
"""Grey levels scaled to -1..1; scaling and order of crops as in pytorch-i3d-feature-extraction."""


@dataclass(frozen=True, kw_only=True)
class I3DExtractor(DeepExtractor):
    """Base of the I3D extractors."""

    normalise: ClassVar[str] = "none"  # the magnitude of these features is the signal

    batch: int = option(5, "Crops per batch of the network; fewer need less memory.", machine=True)
    crops: int = option(10, "10 as published (corners and centre, also mirrored), or 1 (centre), ten times faster.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crops not in (1, 10):
            raise ClapError(f"crops is {self.crops}; give 10 or 1")

    @property
    def preparation(self) -> Preparation:
        """The preparation of its pictures."""
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
        """A network of :mod:`~clap_vad.features.networks` with the weights of the file, including the scaling."""
        from ..networks.checkpoint import load_network

        network = load_network(make, self.weight_files()[0], unused).to(device)
        mean, deviation = [self.preparation.mean] * 3, [self.preparation.deviation] * 3

        def forward(clips: torch.Tensor) -> torch.Tensor:
            features: torch.Tensor = network(scaled(clips, mean, deviation).permute(0, 4, 1, 2, 3))
            return features

        return forward
