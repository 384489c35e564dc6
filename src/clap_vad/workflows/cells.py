"""The single runs behind a comparison: what each is called, whether it is finished, and the command that repeats it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..persistence import file_sha256
from .configuration import RunConfig

__all__ = ["Cell", "check_list", "expand_cells", "run_folder", "train_command"]


@dataclass(frozen=True)
class Cell:
    """One row of the table: the choices that all its seeds share.

    Attributes:
        strategy: None except in setting collaborative, where alone updates are aggregated.
    """

    method: str
    setting: str
    supervision: str
    strategy: str | None

    def arguments(self, **others: Any) -> dict[str, Any]:
        """Keyword arguments of ``train`` for a run of this cell; those that are None are left out."""
        return {name: value for name, value in {**vars(self), **others}.items() if value is not None}


def expand_cells(
    methods: Sequence[str], settings: Sequence[str], supervisions: Sequence[str], strategies: Sequence[str]
) -> Iterator[Cell]:
    """The cells of a comparison, supervision varying slowest.

    >>> cells = expand_cells(["clap"], ["local", "collaborative"], ["us"], ["fedavg", "fedprox"])
    >>> [(cell.setting, cell.strategy) for cell in cells]
    [('local', None), ('collaborative', 'fedavg'), ('collaborative', 'fedprox')]
    """
    for supervision, setting, method in product(supervisions, settings, methods):
        for strategy in strategies if setting == "collaborative" else (None,):
            yield Cell(method, setting, supervision, strategy)


def run_folder(out: Path, config: RunConfig, dataset: Dataset) -> Path:
    """Where the run of this configuration lies: a readable name, another one whenever a choice or input is another.

    The configuration carries a checksum of features, lists and participants; the frame truth, which decides the
    metrics but not the model, is added here.
    """
    truth = dataset.path / "frame_labels.npz"
    inputs = [dataclasses.asdict(config), file_sha256(truth) if truth.exists() else None]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    strategy = [config.strategy] if config.setting == "collaborative" else []
    names = [config.method, config.setting, config.supervision, *strategy, f"seed{config.seed}", digest[:8]]
    return out / "runs" / "-".join(names)


def train_command(dataset: Path, arguments: Mapping[str, Any], out: Path) -> str:
    """The ``clap train`` command of a run.

    >>> train_command(Path("sht"), {"method": "clap", "local_epochs": 2}, Path("my run"))
    "clap train sht --method clap --local-epochs 2 --out 'my run'"
    """
    options = [word for name, value in arguments.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["clap", "train", str(dataset), *options, "--out", str(out)])


def check_list(flag: str, chosen: Sequence[Any]) -> None:
    """Refuse a list that is empty or names something twice; raises :class:`ClapError`."""
    if not chosen:
        raise ClapError(f"--{flag}: nothing chosen; name at least one")
    if len(set(chosen)) < len(chosen):
        raise ClapError(f"--{flag}: {','.join(map(str, chosen))} names one twice; name each once")
