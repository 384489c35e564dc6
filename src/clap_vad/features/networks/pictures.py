"""Preparation of decoded pictures for a network: resizing, crops, scaling.

Resizing uses Pillow with antialiasing, as published features do (directly or by torchvision); the ``resample`` number
of a Hugging Face preprocessor is one of its filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["BICUBIC", "BILINEAR", "LANCZOS", "centre_crop", "resize", "scaled", "shorter_side", "ten_crops"]

LANCZOS, BILINEAR, BICUBIC = 1, 2, 3
"""Pillow's numbers of its filters."""


def resize(picture: np.ndarray, width: int, height: int, resample: int = BILINEAR) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (height, width, 3) uint8 with the Pillow filter of this number."""
    from PIL import Image

    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling(resample)))


def shorter_side(shape: Sequence[int], side: int) -> tuple[int, int]:
    """Width and height after resizing the shorter side of a picture to ``side`` (as torchvision's ``Resize``).

    >>> shorter_side((240, 320), 256), shorter_side((480, 360), 224)
    ((341, 256), (224, 298))
    """
    height, width = shape[:2]
    if width <= height:
        return side, side * height // width
    return side * width // height, side


def centre_crop(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """The centre (..., height, width, 3) of pictures (..., H, W, 3), rounded as in torchvision.

    >>> centre_crop(np.arange(12).reshape(1, 1, 4, 3), 1, 2)[..., 0].ravel().tolist()
    [3, 6]
    """
    top, left = (round((have - want) / 2) for have, want in zip(pictures.shape[-3:-1], (height, width), strict=True))
    return pictures[..., top : top + height, left : left + width, :]


def ten_crops(pictures: np.ndarray, side: int) -> list[np.ndarray]:
    """Ten crops (..., side, side, 3) of pictures (..., H, W, 3), in the order of torchvision's ``TenCrop``.

    Top left, top right, bottom left, bottom right and centre, then the same five of the mirrored pictures.

    >>> row = np.arange(3).reshape(1, 1, 3, 1).repeat(3, axis=-1)  # one picture, one row of 0 1 2
    >>> [crop[0, 0, :, 0].tolist() for crop in ten_crops(row, 1)]
    [[0], [2], [0], [2], [1], [2], [0], [2], [0], [1]]
    """
    crops = []
    for view in (pictures, pictures[..., ::-1, :]):
        bottom, right = view.shape[-3] - side, view.shape[-2] - side
        for top, left in ((0, 0), (0, right), (bottom, 0), (bottom, right)):
            crops.append(view[..., top : top + side, left : left + side, :])
        crops.append(centre_crop(view, side, side))
    return crops


def scaled(pictures: torch.Tensor, mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """``(x - mean) / deviation`` per colour: (..., 3) uint8 -> (..., 3) float32, mean and deviation in 0..255.

    >>> import torch
    >>> scaled(torch.tensor([[0, 255, 51]], dtype=torch.uint8), (127.5,) * 3, (127.5,) * 3)
    tensor([[-1.0000,  1.0000, -0.6000]])
    """
    values = pictures.float()
    return (values - values.new_tensor(mean)) / values.new_tensor(deviation)
