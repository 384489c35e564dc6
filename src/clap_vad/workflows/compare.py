"""Methods in several settings over seeds, as one table, with baselines and published values beside."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.baseline import baseline_table
from ..evaluation.comparison import Row, baseline_rows, summarise_runs
from ..evaluation.published import published_results, published_value
from ..persistence import read_json
from .cells import Cell, check_list, expand_cells, run_folder, train_command
from .comparison_files import write_comparison
from .configuration import RunConfig, check_test_videos
from .train import resume, train

__all__ = ["compare"]

_TRAIN_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(train).parameters.items()
    if parameter.default is not parameter.empty and name != "baselines"
}
KEPT = ("frame_auc", "frame_ap", "frame_auc_std", "frame_ap_std", "undefined", "seconds", "model_sha256", "bytes_up")


def compare(
    dataset: Path,
    *,
    out: Path,
    methods: Sequence[str] = ("clap",),
    settings: Sequence[str] = ("centralized", "local", "collaborative"),
    supervisions: Sequence[str] = ("us",),
    seeds: Sequence[int] = (0, 1, 2),
    strategies: Sequence[str] = ("fedavg",),
    protocol: str | None = None,
    rounds: int = 20,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every method x setting x supervision x strategy x seed and write the table.

    Resumable: a run of the same data and choices that already lies under ``out`` is taken as it is when finished, and
    resumed when not. The table shows the last round, mean and standard deviation over seeds; no round is selected.

    Args:
        dataset: folder of the dataset.
        out: receives ``table.md``, ``table.csv``, ``table.json``, ``table.html`` and the runs under ``runs/``.
        methods, settings, supervisions, seeds, strategies: what to combine; strategies in setting collaborative only.
        protocol, rounds: as in :func:`clap_vad.train`. One assignment serves all seeds.
        options: settings of the methods, given to each of them.
        tell: called with a line of text before each run.

    Returns:
        Contents of ``table.json``: ``rows`` (baselines last), ``runs`` (folder, command and metrics of each run),
        ``benchmark`` and ``published`` (all numbers published for it).

    Raises:
        ClapError: for an unknown or repeated choice, a dataset without test videos, or what training refuses.
    """
    for flag, chosen in (
        ("methods", methods),
        ("settings", settings),
        ("supervisions", supervisions),
        ("strategies", strategies),
        ("seeds", seeds),
    ):
        check_list(flag, chosen)
    opened = Dataset(dataset)
    if not opened.test_videos:
        raise ClapError(f"{dataset / 'videos.csv'}: no test videos, nothing to compare; mark some with split 'test'")
    check_test_videos(opened)
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    cells = list(expand_cells(methods, settings, supervisions, strategies))
    # All configurations are made, and so checked, before the first run starts.
    configs = [
        [_configure(opened, cell.arguments(protocol=protocol, rounds=rounds, seed=seed), options) for seed in seeds]
        for cell in cells
    ]
    benchmark = _benchmark(opened)
    rows: list[Row] = []
    runs: list[dict[str, Any]] = []
    baselines: dict[str, Any] | None = None  # the same for every run, so the first one's serve all
    for cell, of_cell in zip(cells, configs, strict=True):
        results = {}
        for config in of_cell:
            folder = run_folder(out, config, opened)
            tell(f"run {len(runs) + 1} of {len(cells) * len(seeds)}: {folder.name}")
            given = cell.arguments(protocol=config.protocol, rounds=rounds, seed=config.seed, **(options or {}))
            metrics = results[config.seed] = _run(dataset, folder, given, baselines)
            baselines = metrics.get("baselines") or baselines
            command = train_command(dataset, given, folder)
            kept = {key: metrics.get(key) for key in KEPT}
            runs.append({"run": str(folder), "command": command, **given, **kept})
        rows.append(_row(cell, of_cell[0].protocol, results, benchmark))
    rows += baseline_rows(baselines or baseline_table(opened))
    table = {
        "dataset": str(dataset),
        "benchmark": benchmark,
        "rounds": rounds,
        "rows": [row.as_json() for row in rows],
        "runs": runs,
        "published": [vars(entry) for entry in published_results(benchmark or "")],
    }
    write_comparison(out, table)
    return table


def _configure(dataset: Dataset, arguments: dict[str, Any], options: Mapping[str, Any] | None) -> RunConfig:
    """The configuration ``train`` will make of these arguments."""
    return RunConfig.make(dataset, **{**_TRAIN_DEFAULTS, **arguments}, options=dict(options or {}))


def _run(dataset: Path, folder: Path, arguments: Mapping[str, Any], baselines: dict[str, Any] | None) -> dict[str, Any]:
    """Metrics of one run: read where it is finished, trained on where it is not."""
    if (folder / "metrics.json").exists():
        found: dict[str, Any] = read_json(folder / "metrics.json")
        return found
    if (folder / "config.json").exists():
        return resume(folder, baselines=baselines)
    return train(dataset, folder, baselines=baselines, **arguments)


def _row(cell: Cell, protocol: str | None, results: Mapping[int, Mapping[str, Any]], benchmark: str | None) -> Row:
    strategy = cell.strategy or ""
    published = published_value(
        benchmark or "", cell.method, cell.setting, cell.supervision, strategy=strategy, protocol=protocol
    )
    names = {**vars(cell), "strategy": strategy, "protocol": protocol or ""}
    return summarise_runs(results, published, **names)


def _benchmark(dataset: Dataset) -> str | None:
    """The benchmark a dataset was prepared from, None for one's own."""
    file = dataset.path / "truth.json"
    content = read_json(file) if file.exists() else None
    found = content.get("dataset") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None
