"""Checkpoints of the exact public layouts, with weights that any machine can make again."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

LAYOUTS = Path(__file__).parent / "networks"


def public_layout(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a public checkpoint's tensors, listed by running the code that it was published with."""
    lines = (LAYOUTS / f"{name}_layout.txt").read_text().splitlines()
    return {key: tuple(map(int, shape.split("x"))) for key, shape in (line.split() for line in lines)}


def made_up_weights(name: str) -> dict[str, torch.Tensor]:
    """Random weights of the layout, each tensor's drawn from its own name."""
    weights = {}
    for key, shape in public_layout(name).items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            scale = ("bn" in key or "downsample.1" in key) and key.endswith("weight")
            values = rng.uniform(-0.1, 0.1, shape) + scale
        else:
            values = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        weights[key] = torch.from_numpy(values.astype(np.float32))
    return weights


@pytest.fixture(scope="session")
def layout() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """layout("i3d_r50" or "i3d_inception") -> names and shapes of the public checkpoint."""
    return public_layout


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """checkpoint("i3d_r50" or "i3d_inception") -> a file of that layout with made-up weights."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def checkpoint(name: str) -> Path:
        if name not in made:
            made[name] = folder / f"{name}.pt"
            torch.save(made_up_weights(name), made[name])
        return made[name]

    return checkpoint
