"""Weights from a file that the user gives: read without running anything in it, and compared name by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ...errors import ClapError

__all__ = ["load_network", "read_checkpoint"]

_WRAPPINGS = ("state_dict", "model_state_dict", "model")
_PARALLEL = "module."  # what nn.DataParallel puts before every name
_COUNTER = "num_batches_tracked"  # of batch normalisation while training; checkpoints before PyTorch 0.4.1 have none


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a ``.pth``, ``.pt``, ``.tar`` or ``.safetensors`` file, on the CPU.

    A state dict that is wrapped (``{"state_dict": ...}``) is unwrapped, ``module.`` before every name is taken off.

    Raises:
        ClapError: the file is missing or damaged, or holds anything but plain data and tensors.
    """
    if not path.is_file():
        raise ClapError(f"{path}: no such file; give the checkpoint with --weights")
    content = _read(path)
    for wrapping in _WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not content:
        raise ClapError(f"{path}: holds no named tensors; give a checkpoint (a state dict)")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ClapError(f"{path}: entry '{name}' is no tensor; give a checkpoint (a state dict)")
    parallel = all(name.startswith(_PARALLEL) for name in content)
    return {name.removeprefix(_PARALLEL) if parallel else name: value for name, value in content.items()}


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ClapError(
            f"{path}: holds more than tensors, or is no checkpoint; nothing that could run code is loaded, "
            "save its state_dict() alone"
        ) from None
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ClapError(f"{path}: cannot be read as a checkpoint ({reason}); fetch it again") from None


def load_network(make: Callable[[], nn.Module], path: Path, unused: tuple[str, ...] = ()) -> nn.Module:
    """A network with the weights of a file, ready to infer.

    Args:
        make: builds the network, with no weights of its own.
        path: the checkpoint.
        unused: beginnings of names in the checkpoint that the network does without.

    Raises:
        ClapError: the file cannot be read, or its names or shapes are not those of the network; the sentence names
            the first that is missing, unknown or of another shape.
    """
    found = {
        name: value
        for name, value in read_checkpoint(path).items()
        if not name.startswith(unused) and not name.endswith(_COUNTER)
    }
    with torch.device("meta"):  # no time and no random numbers for weights that are replaced
        network = make()
    needed = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    layout = f"give a checkpoint with the layout of {type(network).__name__}"
    for name, value in needed.items():
        if name not in found:
            raise ClapError(f"{path}: has no '{name}'; {layout}")
        if found[name].shape != value.shape:
            raise ClapError(f"{path}: '{name}' is {_size(found[name])}, {_size(value)} is needed; {layout}")
    for name in found:
        if name not in needed:
            raise ClapError(f"{path}: has '{name}', which is not in the network; {layout}")
    network.to_empty(device="cpu")
    network.load_state_dict(found, strict=False)
    return network.eval().requires_grad_(False)


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
