"""Reconstruction of features by GCL's generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .autoencoder import GENERATOR

__all__ = ["reconstruct"]


def reconstruct(weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """G(x), (n, D) -> (n, D).

    >>> from clap_vad.detector.autoencoder import generator_shapes
    >>> weights = {name: torch.zeros(shape) for name, shape in generator_shapes(4).items()}
    >>> reconstruct(weights, torch.ones(2, 4)).shape
    torch.Size([2, 4])
    """
    last = sum(name.startswith(GENERATOR) and name.endswith(".weight") for name in weights)
    for layer in range(1, last + 1):
        name = f"{GENERATOR}layer{layer}"
        x = torch.addmm(weights[f"{name}.bias"], x, weights[f"{name}.weight"].t())
        if layer < last:
            x = torch.relu(x)
    return x
