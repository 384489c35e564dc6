"""Reading the weights of a network from a file: no code in it is run, names and shapes are checked."""

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
_PARALLEL = "module."  # prefix that nn.DataParallel adds to every name
_COUNTER = "num_batches_tracked"  # of batch normalisation; missing in checkpoints before PyTorch 0.4.1


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read the named tensors of a ``.pth``, ``.pt``, ``.tar`` or ``.safetensors`` file onto the CPU.

    A wrapped state dict (``{"state_dict": ...}``) is unwrapped; the prefix ``module.`` of all names is removed.

    Raises:
        ClapError: the file is missing or damaged, or contains anything but plain data and tensors.
    """
    if not path.is_file():
        raise ClapError(f"{path}: no such file; give the checkpoint: --weights FILE")
    content = _read(path)
    for wrapping in _WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not content:
        raise ClapError(f"{path}: contains no named tensors; give a checkpoint (a state dict)")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ClapError(f"{path}: entry '{name}' is not a tensor; give a checkpoint (a state dict)")
    parallel = all(name.startswith(_PARALLEL) for name in content)
    return {name.removeprefix(_PARALLEL) if parallel else name: value for name, value in content.items()}


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ClapError(
            f"{path}: not a checkpoint of tensors only; files that could run code are not loaded, "
            "save only its state_dict()"
        ) from None
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ClapError(f"{path}: cannot be read as a checkpoint ({reason}); download it again") from None


def load_network(make: Callable[[], nn.Module], path: Path, unused: tuple[str, ...] = ()) -> nn.Module:
    """Load a network with the weights of a file, in evaluation mode.

    Args:
        make: builds the network.
        path: the checkpoint.
        unused: prefixes of names in the checkpoint that the network does not need.

    Raises:
        ClapError: the file cannot be read, or its names or shapes differ from those of the network; the message names
            the first that is missing, unknown or of another shape.
    """
    found = {
        name: value
        for name, value in read_checkpoint(path).items()
        if not name.startswith(unused) and not name.endswith(_COUNTER)
    }
    with torch.device("meta"):  # initialise no weights, as they are replaced
        network = make()
    needed = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    layout = f"give a checkpoint with the layout of {type(network).__name__}"
    for name, value in needed.items():
        if name not in found:
            raise ClapError(f"{path}: has no '{name}'; {layout}")
        if found[name].shape != value.shape:
            raise ClapError(f"{path}: '{name}' is {_size(found[name])}, not {_size(value)}; {layout}")
    for name in found:
        if name not in needed:
            raise ClapError(f"{path}: has '{name}', which is not in the network; {layout}")
    network.to_empty(device="cpu")
    network.load_state_dict(found, strict=False)
    return network.eval().requires_grad_(False)


def _size(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
