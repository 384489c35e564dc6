"""I3D ResNet-50: the network of the 2048-d features of UCF-Crime and ShanghaiTech.

Inflated 3D ResNet-50 (Wang, Girshick, Gupta, He: Non-local Neural Networks, CVPR 2018, table 1, the I3D baseline) with
the module names of the public checkpoint ``i3d_r50_kinetics.pth``, which Tushar-N/pytorch-resnet3d converts from
Facebook's ``i3d_baseline_32x2_IN_pretrain_400k.pkl``. The classifier (``fc``) is left out.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["UNUSED", "I3DResNet50"]

UNUSED = ("fc.",)
"""Prefixes of names in a checkpoint that features do not need."""


class _Bottleneck(nn.Module):
    """Bottleneck block: reduce (optionally over time), 3 x 3 in the picture, expand by four; added to the input."""

    def __init__(self, incoming: int, planes: int, stride: int, temporal: bool) -> None:
        super().__init__()
        outgoing, reach = 4 * planes, int(temporal)
        self.conv1 = nn.Conv3d(incoming, planes, (1 + 2 * reach, 1, 1), padding=(reach, 0, 0), bias=False)
        self.bn1 = nn.BatchNorm3d(planes)
        self.conv2 = nn.Conv3d(planes, planes, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.bn2 = nn.BatchNorm3d(planes)
        self.conv3 = nn.Conv3d(planes, outgoing, 1, bias=False)
        self.bn3 = nn.BatchNorm3d(outgoing)
        self.downsample: nn.Module | None = None
        if stride != 1 or incoming != outgoing:
            self.downsample = nn.Sequential(
                nn.Conv3d(incoming, outgoing, 1, (1, stride, stride), bias=False), nn.BatchNorm3d(outgoing)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def _stage(incoming: int, planes: int, stride: int, temporal: tuple[bool, ...]) -> nn.Sequential:
    """One block per entry of ``temporal``: True if its first convolution spans three pictures, False for one."""
    first = _Bottleneck(incoming, planes, stride, temporal[0])
    return nn.Sequential(first, *(_Bottleneck(4 * planes, planes, 1, spans) for spans in temporal[1:]))


class I3DResNet50(nn.Module):
    """Maps scaled clips (n, 3, frames, height, width) to (n, 2048); 16 x 224 x 224 in papers, at least 8 x 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, (5, 7, 7), (2, 2, 2), (2, 3, 3), bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        self.maxpool1 = nn.MaxPool3d((2, 3, 3), (2, 2, 2))
        self.maxpool2 = nn.MaxPool3d((2, 1, 1), (2, 1, 1))
        self.layer1 = _stage(64, 64, 1, (True, True, True))
        self.layer2 = _stage(256, 128, 2, (True, False, True, False))
        self.layer3 = _stage(512, 256, 2, (True, False, True, False, True, False))
        self.layer4 = _stage(1024, 512, 2, (False, True, False))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = self.maxpool1(torch.relu(self.bn1(self.conv1(clips))))
        x = self.maxpool2(self.layer1(x))
        x = self.layer4(self.layer3(self.layer2(x)))
        return x.mean(dim=(2, 3, 4))
