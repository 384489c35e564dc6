"""The cells of a table (one row each, with common options), and their planned runs."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..algorithms.method import METHODS
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..federation.strategy import STRATEGIES
from ..persistence import file_sha256
from ..settings import setting_names
from ..specification.choice import choices_of
from ..specification.reading import options_from
from ..specification.run import RunOptions, RunSpecification
from ..workflows.resolution import specify

__all__ = ["Cell", "PlannedRun", "check_list", "expand_cells", "plan_runs", "train_command"]

_OPTIONS = [setting.name for setting in choices_of(RunOptions, "train", "inprocess")]


@dataclass(frozen=True)
class Cell:
    """One row of a table.

    Attributes:
        strategy: None except in setting collaborative; the other settings do not aggregate.
        protocol: None for the default of ``train``.
    """

    method: str
    setting: str
    supervision: str
    strategy: str | None = None
    protocol: str | None = None

    def arguments(self, **others: Any) -> dict[str, Any]:
        """Keyword arguments of ``train`` for a run of this cell, without those that are None."""
        return {name: value for name, value in {**vars(self), **others}.items() if value is not None}


@dataclass(frozen=True)
class PlannedRun:
    """A run of a cell, with its checked specification.

    Attributes:
        folder: of the run; it exists once the run has begun.
        arguments: keyword arguments of ``train``.
    """

    cell: Cell
    spec: RunSpecification
    folder: Path
    arguments: Mapping[str, Any]


def expand_cells(
    methods: Sequence[str],
    settings: Sequence[str],
    supervisions: Sequence[str],
    strategies: Sequence[str],
    protocol: str | None = None,
) -> Iterator[Cell]:
    """The cells of a comparison, supervision varying slowest.

    >>> cells = expand_cells(["clap"], ["local", "collaborative"], ["us"], ["fedavg", "fedprox"])
    >>> [(cell.setting, cell.strategy) for cell in cells]
    [('local', None), ('collaborative', 'fedavg'), ('collaborative', 'fedprox')]
    """
    for supervision, setting, method in product(supervisions, settings, methods):
        # Keep an unknown name: it is refused when the specification is made.
        without = not METHODS[method].aggregates_updates and set(strategies) <= set(STRATEGIES.names())
        possible = ("fedavg",) if without else strategies
        for strategy in possible if setting == "collaborative" else (None,):
            yield Cell(method, setting, supervision, strategy, protocol)


def plan_runs(
    dataset: Path, out: Path, cells: Sequence[Cell], seeds: Sequence[int], common: Mapping[str, Any]
) -> list[PlannedRun]:
    """The runs of these cells, each cell's seeds together; all specifications are checked before the first run.

    Args:
        dataset: folder of the dataset.
        out: the runs are written to ``out/runs``.
        cells: to run.
        seeds: of each cell.
        common: further keyword arguments of ``train``; a setting is passed to the methods and strategies that have it.

    Raises:
        ClapError: for an impossible option, or a setting that none of them has.
    """
    opened = Dataset(dataset)
    keywords = {name: value for name, value in common.items() if name in _OPTIONS}
    options = {name: value for name, value in common.items() if name not in _OPTIONS}
    known = {cell: _known_settings(cell) for cell in cells}
    for name in options:
        if not any(name in settings for settings in known.values()):
            raise ClapError(f"no setting '{name}' in the chosen methods and strategies")
    planned = []
    for cell, seed in product(cells, seeds):
        own = {name: value for name, value in options.items() if name in known[cell]}
        arguments = cell.arguments(**keywords, seed=seed)
        spec = specify(opened, options_from({**arguments, "options": own}))
        given = cell.arguments(**{**keywords, "protocol": spec.protocol}, seed=seed, **own)
        planned.append(PlannedRun(cell, spec, _run_folder(out, spec, opened), given))
    return planned


def train_command(dataset: Path, arguments: Mapping[str, Any], out: Path) -> str:
    """The ``clap train`` command of a run.

    >>> train_command(Path("sht"), {"method": "clap", "local_epochs": 2, "test_each_round": True}, Path("my run"))
    "clap train sht --method clap --local-epochs 2 --test-each-round --out 'my run'"
    """
    words = []
    for name, value in arguments.items():
        flag = f"--{name.replace('_', '-')}"
        text = ",".join(value) if isinstance(value, list | tuple) else str(value)
        words += [flag] if value is True else [] if value is False else [flag, text]
    return shlex.join(["clap", "train", str(dataset), *words, "--out", str(out)])


def check_list(flag: str, chosen: Sequence[Any]) -> None:
    """Refuse a list that is empty or names something twice; raises :class:`ClapError`."""
    if not chosen:
        raise ClapError(f"--{flag}: nothing chosen; name at least one")
    if len(set(chosen)) < len(chosen):
        raise ClapError(f"--{flag}: {','.join(map(str, chosen))} names one twice; name each once")


def _known_settings(cell: Cell) -> set[str]:
    strategy = setting_names(STRATEGIES[cell.strategy]) if cell.strategy in STRATEGIES.names() else []
    return {*setting_names(METHODS[cell.method]), *strategy}


def _run_folder(out: Path, spec: RunSpecification, dataset: Dataset) -> Path:
    """Folder of a run: a readable name, and a digest that changes with every option and input.

    The specification contains a checksum of features, lists and participants. The frame truth, which decides the
    metrics but not the model, is added here.
    """
    truth = dataset.path / "frame_labels.npz"
    inputs = [spec.as_json(), file_sha256(truth) if truth.exists() else None]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    strategy = [spec.strategy] if spec.setting == "collaborative" else []
    names = [spec.method, spec.setting, spec.supervision, *strategy, f"seed{spec.seed}", digest[:8]]
    return out / "runs" / "-".join(names)
