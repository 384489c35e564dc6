"""``clap reproduce``: every cell of the paper's tables on one benchmark, with the published values."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..datasets.dataset import Dataset
from ..datasets.partition import describe_participants
from ..datasets.preparation import DATASETS, prepare
from ..errors import ClapError
from ..evaluation.comparison import baseline_rows
from ..evaluation.published import published_results
from ..persistence import locked_folder, read_json, write_json
from ..settings import setting_names
from ..workflows.opening import check_test_videos
from .cells import check_list, plan_runs
from .paper import TABLES, default_protocol, paper_tables
from .reproduction_files import write_reproduction
from .rows import benchmark_of, cell_rows, run_records
from .runs import run_all

__all__ = ["reproduce"]


def reproduce(
    benchmark: str,
    features: Path,
    out: Path,
    *,
    source: Path | None = None,
    tables: Sequence[str] = TABLES,
    protocol: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    rounds: int = 20,
    jobs: int | None = None,
    options: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every cell of the paper's tables; write the published value, our value and the difference.

    After a kill, repeat the same command: finished runs are reused, unfinished ones resumed.

    Args:
        benchmark: ``ucf-crime``, ``xd-violence``, ``shanghaitech-tracks`` or another known one.
        features: folder of the published files, or a dataset prepared from them.
        out: receives ``reproduction.md``, ``.csv``, ``.html`` and ``.json``, the dataset and the runs.
        source: folder of the lists, annotations and partitions, if not in ``features``.
        tables: names, see :data:`~clap_vad.experiments.paper.TABLES`.
        protocol: of the main table; see :func:`~clap_vad.experiments.paper.default_protocol`.
        seeds, rounds: of each cell.
        jobs: parallel runs, in processes; None for as many as the cores allow.
        options: settings, each passed to the methods and strategies that have it, and further arguments of ``train``.
        tell: called with a line of text for each step done.

    Returns:
        Contents of ``reproduction.json``: ``tables`` (name, title, rows), ``baselines``, ``runs``, ``participants``,
        ``synthetic`` (True if the features are marked as synthetic).

    Raises:
        ClapError: the features are missing (the message names the files and layout needed), or an impossible option.
    """
    check_list("seeds", seeds)
    check_list("tables", tables)
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        dataset = _dataset(benchmark, features, source, out, tell)
        opened = Dataset(dataset)
        check_test_videos(opened)
        wanted = paper_tables(opened, protocol or default_protocol(opened), tuple(tables))
        common = {"rounds": rounds, "test_each_round": True, **(options or {})}
        cells = list(dict.fromkeys(cell for table in wanted for cell in table.cells))
        every = plan_runs(dataset, out, cells, seeds, common)
        planned = {t.name: [run for cell in t.cells for run in every if run.cell == cell] for t in wanted}
        finished, baselines = run_all(dataset, every, jobs=jobs, tell=tell)
        protocols = list(dict.fromkeys(run.spec.protocol for run in every if run.spec.protocol))
        content = {
            "benchmark": benchmark,
            "dataset": str(dataset),
            "synthetic": (features / "synthetic.json").exists(),
            "rounds": rounds,
            "seeds": list(seeds),
            "tables": [
                {
                    "name": table.name,
                    "title": table.title,
                    "rows": [row.as_json() for row in cell_rows(planned[table.name], finished, benchmark)],
                }
                for table in wanted
            ],
            "baselines": [row.as_json() for row in baseline_rows(baselines)],
            "runs": run_records(dataset, every, finished),
            "participants": [describe_participants(opened, opened.read_participants(name)) for name in protocols],
            "published": [vars(entry) for entry in published_results(benchmark)],
        }
        write_reproduction(out, content)
    return content


def _dataset(benchmark: str, features: Path, source: Path | None, out: Path, tell: Callable[[str], None]) -> Path:
    """The dataset: the given one, the one prepared by an earlier call, or a new one from the published files."""
    wanted = DATASETS[benchmark].wanted
    if not features.is_dir():
        raise ClapError(f"{features}: no such folder; {benchmark} needs {wanted}")
    if (features / "videos.csv").exists():
        if benchmark_of(Dataset(features)) != benchmark:
            raise ClapError(f"{features}: not a dataset prepared from {benchmark}; give one, or a folder with {wanted}")
        return features
    dataset, purpose = out / "dataset", out / "prepared.json"
    stated = {"benchmark": benchmark, "features": str(features.resolve()), "source": source and str(source.resolve())}
    if purpose.exists():
        if read_json(purpose) != stated:
            raise ClapError(f"{out}: contains another reproduction ({purpose}); choose another --out")
        return dataset
    tell(f"preparing {benchmark} from {features}")
    if source is not None and "features" not in setting_names(DATASETS[benchmark]):
        raise ClapError(f"--source: {benchmark} has its lists and features in one folder; leave it out")
    try:
        separate: dict[str, Any] = {"features": features} if source is not None else {}
        prepared = prepare(benchmark, source or features, dataset, **DATASETS[benchmark].for_papers, **separate)
    except ClapError as error:
        raise ClapError(f"{error}; {benchmark} needs {wanted}") from None
    if prepared["features"] is None or prepared["next"]:
        shutil.rmtree(dataset)  # else a later call would reuse the incomplete dataset
        raise ClapError(f"{features}: features of some splits are missing; {benchmark} needs {wanted}")
    if prepared["skipped"]:
        tell(f"{len(prepared['skipped'])} videos could not be used: {', '.join(prepared['skipped'])}")
    write_json(purpose, stated)
    return dataset
