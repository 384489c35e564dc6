"""Checkpoints as people have them, and as they should not be."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from clap_vad.errors import ClapError
from clap_vad.features.networks.checkpoint import load_network, read_checkpoint


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {key: torch.randn_like(value.float()) for key, value in make().state_dict().items() if "num" not in key}


def same(network: nn.Module, weights) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[key], value) for key, value in weights.items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"epoch": 3, "state_dict": weights},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {"model": {f"module.{key}": value for key, value in weights.items()}},
        lambda weights: {**weights, "1.num_batches_tracked": torch.tensor(7), "fc.weight": torch.zeros(4, 2)},
    ],
)
def test_wrapped_and_prefixed_checkpoints_load(tmp_path, weights, wrap):
    torch.save(wrap(weights), tmp_path / "a.pth")
    network = load_network(make, tmp_path / "a.pth", unused=("fc.",))
    assert same(network, weights)
    assert not network.training


def test_the_formats_of_old_torch_and_safetensors_load(tmp_path, weights):
    torch.save(weights, tmp_path / "a.pt", _use_new_zipfile_serialization=False)  # as of PyTorch 0.4 to 1.5
    save_file(weights, tmp_path / "a.safetensors")
    assert same(load_network(make, tmp_path / "a.pt"), weights)
    assert same(load_network(make, tmp_path / "a.safetensors"), weights)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("0.bias"), "has no '0.bias'; give a checkpoint with the layout of Sequential"),
        (lambda w: w.update(head=torch.zeros(1)), "has 'head', which is not in the network"),
        (lambda w: w.update({"0.weight": torch.zeros(2, 4)}), "'0.weight' is 2 x 4, not 2 x 3"),
        (lambda w: w.update(epoch=3), "entry 'epoch' is not a tensor"),
        (lambda w: w.clear(), "contains no named tensors"),
    ],
)
def test_a_misfit_is_named(tmp_path, weights, change, reason):
    change(weights)
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ClapError, match=rf"a\.pth: {reason}"):
        load_network(make, tmp_path / "a.pth")


class Trap:
    """Unpickling it would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def test_nothing_in_a_checkpoint_is_run(tmp_path, weights):
    mark = tmp_path / "mark"
    torch.save({**weights, "trap": Trap(mark)}, tmp_path / "a.pth")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"blobs": Trap(mark)}, protocol=2))
    for name in ("a.pth", "b.pkl"):
        with pytest.raises(ClapError, match="files that could run code are not loaded"):
            read_checkpoint(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content"), [("a.pth", b""), ("a.pth", b"PK\3\4" + bytes(60)), ("a.safetensors", b"x")]
)
def test_a_damaged_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ClapError, match=rf"{name}: (cannot be read as|holds more than)"):
        read_checkpoint(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClapError, match=r"none\.pt: no such file; give the checkpoint: --weights"):
        read_checkpoint(tmp_path / "none.pt")
