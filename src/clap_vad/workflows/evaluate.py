"""Frame-level metrics of finished runs: recomputed, on another dataset, or pooled over the folds of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..evaluation.counts import FrameCounts, count_frames, pool_counts
from ..evaluation.evaluate import evaluate_counts, mean_over_participants
from ..features.extraction.extractor import EXTRACTORS
from ..persistence import NpzArrays, open_npz, read_json

if TYPE_CHECKING:
    from ..detector.model import Model

__all__ = ["check_features", "evaluate", "open_dataset", "read_config"]

Counts = dict[str, FrameCounts]
"""Counts per model of a run: participant -> counts in setting local, one entry named "" otherwise."""


def evaluate(runs: Sequence[Path], dataset: Path | None = None, *, pool: bool = False) -> dict[str, Any]:
    """Evaluate finished runs.

    Without ``dataset`` the metrics are recomputed from the runs' ``scores.npz``. With it the runs' models score the
    test videos of that dataset. In setting local every participant's model is evaluated and the mean reported.

    Args:
        runs: run folders.
        dataset: score this dataset's test videos instead of the one trained on.
        pool: evaluate the frames of all runs as one test set (each fold of a benchmark scored by the model that was
            not trained on it); setting local is pooled participant by participant.

    Returns:
        For one run, ``run``, ``dataset``, ``method``, ``setting``, ``supervision``, ``seed`` and the keys of
        :func:`~clap_vad.evaluation.evaluate.evaluate_counts` (setting local: of ``mean_over_participants``).
        For several, ``{"runs": [one such dict each]}``; pooled, also the metrics of all frames.

    Raises:
        ClapError: for an unfinished or broken run, a dataset that is missing or does not fit the model, scores that
            do not fit the dataset, or runs that cannot be pooled.
    """
    if not runs:
        raise ClapError("no run to evaluate; give at least one run folder")
    if pool and len(runs) < 2:
        raise ClapError(f"{runs[0]}: one run alone cannot be pooled; give the run of each fold")
    if pool and dataset is not None:
        raise ClapError("--pool evaluates runs on different datasets; leave --dataset out")
    configs = [read_config(run) for run in runs]
    datasets = [open_dataset(run, config, dataset) for run, config in zip(runs, configs, strict=True)]
    if pool:
        _check_poolable(runs, configs, datasets)
    counted = [
        _count(run, config, opened, rescore=dataset is not None)
        for run, config, opened in zip(runs, configs, datasets, strict=True)
    ]
    rows = [
        _describe(run, config, opened) | _summarise(parts)
        for run, config, opened, parts in zip(runs, configs, datasets, counted, strict=True)
    ]
    if pool:
        return {"runs": rows, "pooled": True, **_summarise(_pool(runs, counted))}
    return rows[0] if len(rows) == 1 else {"runs": rows}


def read_config(run: Path) -> dict[str, Any]:
    """The ``config.json`` of a finished run; a run of another release is accepted too."""
    if not (run / "config.json").exists():
        raise ClapError(f"{run}: not a run (config.json is missing); make one with 'clap train'")
    config = read_json(run / "config.json")
    if not isinstance(config, dict):
        raise ClapError(f"{run / 'config.json'}: not the settings of a run; train again")
    if type(config.get("threads", 2)) is not int or config.get("threads", 2) < 1:
        raise ClapError(f"{run / 'config.json'}: 'threads' must be a whole number from 1; restore the file")
    if not (run / "metrics.json").exists():
        raise ClapError(f"{run}: this run has not finished; finish it with 'clap train --resume {run}'")
    return config


def open_dataset(run: Path, config: dict[str, Any], dataset: Path | None) -> Dataset:
    """The given dataset, or else the one that the run was trained on."""
    if dataset is not None:
        return Dataset(dataset)
    named = config.get("dataset")
    if not isinstance(named, str) or not Path(named).is_dir():
        raise ClapError(
            f"{run / 'config.json'}: the dataset it was trained on ({named}) is missing; give its folder by --dataset"
        )
    return Dataset(Path(named))


def _check_poolable(runs: Sequence[Path], configs: Sequence[dict[str, Any]], datasets: Sequence[Dataset]) -> None:
    folders = [dataset.path.resolve() for dataset in datasets]
    for i, folder in enumerate(folders):
        if folder in folders[:i]:
            raise ClapError(
                f"{runs[i]}: has the same dataset as {runs[folders.index(folder)]} ({folder}); "
                "only runs on different test sets can be pooled"
            )
        if configs[i].get("setting") != configs[0].get("setting"):
            raise ClapError(
                f"{runs[i]}: setting {configs[i].get('setting')} cannot be pooled with "
                f"{configs[0].get('setting')} of {runs[0]}; give runs of one setting"
            )


def _count(run: Path, config: dict[str, Any], dataset: Dataset, *, rescore: bool) -> Counts:
    counts = {}
    for participant, folder in _models(run, config).items():
        if rescore:
            counts[participant] = count_frames(dataset, _score(folder, dataset, config.get("threads", 2)), str(folder))
        else:
            file = folder / "scores.npz"
            with _open_scores(file) as archive:
                counts[participant] = count_frames(dataset, archive, str(file))
    return counts


def _models(run: Path, config: dict[str, Any]) -> dict[str, Path]:
    """Folders that contain a model and its scores."""
    if config.get("setting") != "local":
        return {"": run}
    folders = sorted(path for path in (run / "participants").glob("*") if path.is_dir())
    if not folders:
        raise ClapError(f"{run / 'participants'}: contains no participant's model; train again")
    return {folder.name: folder for folder in folders}


def _open_scores(file: Path) -> NpzArrays:
    if not file.exists():
        raise ClapError(f"{file}: missing; score the dataset again with 'clap evaluate RUN --dataset DATASET'")
    return open_npz(file, "scores")


def _score(folder: Path, dataset: Dataset, threads: int) -> dict[str, np.ndarray]:
    """Scores of the dataset's test videos under the model in ``folder``, store by store in bounded memory."""
    from ..detector.personalised import PersonalisedModels
    from ..evaluation.scoring import score_test_videos

    personalised = PersonalisedModels.load(folder)
    check_features(folder, personalised.common, dataset, dataset.test_videos)
    return score_test_videos(dataset, personalised, threads)


def check_features(folder: Path, model: Model, dataset: Dataset, videos: Sequence[str]) -> None:
    """Refuse videos whose features differ in kind from those the model in ``folder`` was trained on."""
    for store, _ in dataset.by_store(videos):
        if store.dim != model.dim:
            raise ClapError(f"{store.path}: features have {store.dim} dimensions, {folder} was trained on {model.dim}")
        _check_extractor(folder, model.info, store.extractor, store.path)


def _check_extractor(folder: Path, info: dict[str, Any], found: str, store: Path) -> None:
    """Refuse features of another extractor; import formats are layouts of features whose extractor is unknown."""
    named = info.get("extractor")
    trained = named.get("name") if isinstance(named, dict) else None
    if trained != found and {trained, found} & set(EXTRACTORS.names()):
        raise ClapError(f"{store}: features of '{found}', but {folder} was trained on '{trained}'; extract those")


def _pool(runs: Sequence[Path], counted: Sequence[Counts]) -> Counts:
    for run, parts in zip(runs, counted, strict=True):
        if parts.keys() != counted[0].keys():
            raise ClapError(
                f"{run}: its participants ({', '.join(parts)}) are not those of {runs[0]} ({', '.join(counted[0])}); "
                "only runs with the same participants can be pooled"
            )
    return {participant: pool_counts([parts[participant] for parts in counted]) for participant in counted[0]}


def _summarise(parts: Counts) -> dict[str, Any]:
    results = {participant: evaluate_counts(counts) for participant, counts in parts.items()}
    return results[""] if "" in results else mean_over_participants(results)


def _describe(run: Path, config: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    kept = {key: config.get(key) for key in ("method", "setting", "supervision", "seed")}
    return {"run": str(run), "dataset": str(dataset.path), **kept}
