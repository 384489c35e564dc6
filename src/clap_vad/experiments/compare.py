"""``clap compare``: methods in several settings over seeds as one table, with baselines and published values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..algorithms.method import DEFAULT_METHOD, METHODS
from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.comparison import baseline_rows
from ..evaluation.published import published_results
from ..features.store.description import describe
from ..workflows.opening import check_test_videos
from ..workflows.suitability import feature_remarks
from .cells import check_list, expand_cells, plan_runs
from .comparison_files import write_comparison
from .rows import benchmark_of, cell_rows, run_records
from .runs import run_all

__all__ = ["compare"]


def compare(
    dataset: Path,
    *,
    out: Path,
    methods: Sequence[str] = (DEFAULT_METHOD,),
    settings: Sequence[str] = ("centralized", "local", "collaborative"),
    supervisions: Sequence[str] = ("us",),
    seeds: Sequence[int] = (0, 1, 2),
    strategies: Sequence[str] = ("fedavg",),
    protocol: str | None = None,
    rounds: int = 20,
    test_each_round: bool = False,
    jobs: int | None = 1,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every method x setting x supervision x strategy x seed and write the table.

    Resumable: a run in ``out`` with the same data and options is reused if finished, and resumed if not. The table
    shows mean and standard deviation over seeds of the last round; no round is selected.

    Args:
        dataset: folder of the dataset.
        out: receives ``table.md``, ``table.csv``, ``table.json``, ``table.html``, the plot ``table.svg`` and
            ``table.png``, and the runs in ``runs/``.
        methods, settings, supervisions, seeds, strategies: to combine; strategies in setting collaborative only.
        protocol, rounds: as in :func:`clap_vad.train`. All seeds use the same participants.
        test_each_round: add a column with the best round on the test labels, as published releases select it.
        jobs: parallel runs, each in its own process; None for as many as the cores allow.
        options: settings, each passed to the methods and strategies that have it, and further arguments of ``train``.
        tell: called with a line of text when a run has finished.

    Returns:
        Contents of ``table.json``: ``rows`` (baselines last), ``runs`` (folder, command and metrics of each run),
        ``benchmark`` and ``published`` (all numbers published for it).

    Raises:
        ClapError: for an unknown or repeated option, a dataset without test videos, or a run that is refused.
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
    cells = list(expand_cells(methods, settings, supervisions, strategies, protocol))
    common = {"rounds": rounds, **(options or {})} | ({"test_each_round": True} if test_each_round else {})
    planned = plan_runs(dataset, out, cells, seeds, common)
    store = opened.stores[0]
    remarks = [
        remark
        for name in methods
        for remark in feature_remarks(METHODS[name], name, describe(store), store.valid is not None)
    ]
    for remark in remarks:
        tell(remark)
    finished, baselines = run_all(dataset, planned, jobs=jobs, tell=tell)
    benchmark = benchmark_of(opened)
    rows = cell_rows(planned, finished, benchmark) + baseline_rows(baselines)
    table = {
        "dataset": str(dataset),
        "benchmark": benchmark,
        "rounds": rounds,
        "remarks": remarks,
        "rows": [row.as_json() for row in rows],
        "runs": run_records(dataset, planned, finished),
        "published": [vars(entry) for entry in published_results(benchmark or "")],
    }
    write_comparison(out, table)
    return table
