"""``clap train``: from a dataset to a model, its scores and its metrics."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.rounds import global_weights, normaliser_of, quantiles
from ..core.events import DEFAULT_QUANTILE
from ..datasets.dataset import Dataset
from ..detector.model import Model
from ..detector.network import detector_weights
from ..detector.scoring import score_videos
from ..errors import ClapError
from ..evaluation.baseline import baseline_table
from ..evaluation.best_round import best_round
from ..evaluation.evaluate import evaluate_participants, evaluate_scores
from ..federation.ask import Ask, State
from ..federation.checkpoint import read_rounds
from ..persistence import locked_folder, open_npz, read_json, save_npz, write_json
from ..progress import progress_bar
from .configuration import RunConfig, check_test_videos
from .provenance import provenance
from .report import report

__all__ = ["resume", "train"]

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)


def train(
    dataset: Path,
    out: Path,
    *,
    method: str = "clap",
    setting: str = "collaborative",
    supervision: str = "us",
    strategy: str = "fedavg",
    protocol: str | None = None,
    rounds: int = 20,
    seed: int = 0,
    threads: int = 0,
    normalise: str = "auto",
    fraction: float = 1.0,
    stragglers: float = 0.0,
    labelled_participants: float = 0.3,
    test_each_round: bool = False,
    baselines: Mapping[str, Any] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train and evaluate; the run can be killed at any moment and taken up by :func:`resume`.

    Args:
        dataset: dataset folder.
        out: run folder to make.
        method: a registered method.
        setting: ``centralized``, ``local`` or ``collaborative``.
        supervision: ``us`` (no labels are read), ``ws`` (a label per training video) or ``mixed`` (some participants
            have labels, the others none).
        strategy: a registered aggregation strategy; ignored but for setting collaborative, which alone aggregates.
        protocol: name of a file in ``participants/``, made where it can be derived; by default ``scene`` where the
            videos have scenes, else ``random``. Ignored for centralized, but for whose videos ``mixed`` labels.
        rounds: rounds of training.
        seed: of initial weights, shuffling and dropout.
        threads: processor threads of a site's step; part of the result's identity, so 0 takes 1 or 2 by the width of
            the features and never by the machine.
        normalise: ``none``, ``federated``, or ``auto`` for what the features' extractor asks for.
        fraction: part of the participants, drawn anew, that takes part in each round.
        stragglers: probability that a participant does fewer local epochs in a round, at least one (simulated).
        labelled_participants: part of the participants that has labels under ``mixed``.
        test_each_round: evaluate the global model after every round too, into ``rounds.jsonl``; ``metrics.json`` then
            also names the round that is best on the test labels, as releases select it: never the result.
        baselines: what :func:`~clap_vad.evaluation.baseline.baseline_table` gives for this dataset, where it is known
            already; they depend on nothing else.
        options: settings of the method and of the strategy.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input and an ``out`` that holds a run.
    """
    _check_free(out)
    opened = Dataset(dataset)
    check_test_videos(opened)
    config = RunConfig.make(
        opened,
        method=method,
        setting=setting,
        supervision=supervision,
        strategy=strategy,
        protocol=protocol,
        rounds=rounds,
        seed=seed,
        threads=threads,
        normalise=normalise,
        options=options,
        fraction=fraction,
        stragglers=stragglers,
        labelled_participants=labelled_participants,
        test_each_round=test_each_round,
    )
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        _check_free(out)
        write_json(out / "config.json", dataclasses.asdict(config))
        return _go_on(out, baselines)


def resume(run: Path, *, baselines: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Take up a run where its last checkpoint left it; a finished one returns its metrics.

    The model is the same, bit for bit, as that of an undisturbed run; ``baselines`` as for :func:`train`. Raises
    :class:`ClapError` where there is no run, another process is at work on it, or what it was trained on has changed.
    """
    RunConfig.read(run)
    with locked_folder(run):
        return _go_on(run, baselines)


def _check_free(out: Path) -> None:
    """Refuse a place that holds anything; hidden files are what a kill left of a run that had not begun."""
    if (out / "config.json").exists():
        raise ClapError(f"{out}: holds a run already; go on with 'clap train --resume {out}' or choose another --out")
    if out.exists() and not out.is_dir():
        raise ClapError(f"{out}: a file is in the way; choose another --out")
    if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise ClapError(f"{out}: is not empty; choose another --out")


def _go_on(run: Path, baselines: Mapping[str, Any] | None) -> dict[str, Any]:
    started = time.perf_counter()
    config = RunConfig.read(run)
    if (run / "metrics.json").exists():
        metrics = read_json(run / "metrics.json")
        if not isinstance(metrics, dict) or not metrics.keys() >= {"method", "setting", "model_sha256", "seconds"}:
            raise ClapError(f"{run / 'metrics.json'}: not the metrics of a run; delete it and repeat to make it anew")
        if not (run / "report.html").exists():  # killed after the last number and before the page about it
            report(run)
        return dict(metrics)
    resumed = (run / "checkpoints").exists() or (run / "participants").exists()
    opened = config.open()
    dataset, participants = opened.dataset, opened.participants
    if config.setting == "local":
        shares = {run / "participants" / name: {name: videos} for name, videos in participants.items()}
    else:
        shares = {run: participants}
    states = {}
    with progress_bar(
        "training", config.rounds * sum(opened.plan.per_round(len(p)) for p in shares.values())
    ) as advance:

        def on_reply(ask: Ask, participant: str) -> None:
            if ask.step == "train":
                advance(1, note=f"round {ask.payload['round']}, {participant}")

        for folder, held in shares.items():
            states[folder] = opened.federation(folder, held).run(on_reply, partial(_test_round, config, dataset))
    hashes, bytes_up, bytes_down = [], 0, 0
    for folder, state in states.items():
        hashes.append(_save_model(folder, config, dataset, state))
        bytes_up += int(state["bytes_up"])
        bytes_down += int(state["bytes_down"])
    if config.setting == "local":
        model_sha256 = hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()
    else:
        model_sha256 = hashes[0]
    evaluated = _evaluate(config, dataset, list(states))
    seconds = round(time.perf_counter() - started, 2)  # the run's own: baselines may come from another run
    if config.test_each_round:
        evaluated |= best_round([read_rounds(folder / "rounds.jsonl") for folder in states])
    metrics = {
        **evaluated,
        "method": config.method,
        "setting": config.setting,
        "supervision": config.supervision,
        "strategy": config.strategy,
        "protocol": config.protocol,
        "participants": len(participants),
        "rounds": config.rounds,
        "seed": config.seed,
        "model_sha256": model_sha256,
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        "baselines": baseline_table(dataset) if baselines is None else baselines,
        "resumed": resumed,
        "seconds": seconds,
    }
    write_json(run / "metrics.json", metrics)
    report(run)
    return metrics


def _save_model(folder: Path, config: RunConfig, dataset: Dataset, state: State) -> str:
    store = dataset.stores[0]
    levels = quantiles(state, QUANTILES)
    info = {
        "extractor": {"name": store.extractor, "settings": store.info.get("settings", {})},
        "weights_sha256": store.info.get("weights_sha256"),
        "segment_frames": store.segment_frames,
        "crops": store.crops,
        "dim": store.dim,
        "calibration": {
            "quantile": DEFAULT_QUANTILE,
            "threshold": levels.get(str(DEFAULT_QUANTILE)),
            "quantiles": levels,
        },
        "provenance": provenance(config),
    }
    weights, normaliser = detector_weights(global_weights(state)), normaliser_of(state)
    sha256 = Model(weights, normaliser, info).save(folder)
    save_npz(folder / "scores.npz", _test_scores(config, dataset, state))
    return sha256


def _test_scores(config: RunConfig, dataset: Dataset, state: State) -> dict[str, np.ndarray]:
    """The global model's scores of the test videos."""
    weights, normaliser = global_weights(state), normaliser_of(state)
    scores: dict[str, np.ndarray] = {}
    for held, entries in dataset.by_store(dataset.test_videos):
        found = score_videos(weights, held, entries, normaliser, config.threads)
        scores |= {entry.video: own for entry, own in zip(entries, found, strict=True)}
    return scores


def _test_round(config: RunConfig, dataset: Dataset, state: State) -> dict[str, Any]:
    if not config.test_each_round or not dataset.test_videos:
        return {}
    found = evaluate_scores(dataset, _test_scores(config, dataset, state))
    return {metric: found[metric] for metric in ("frame_auc", "frame_ap")}


def _evaluate(config: RunConfig, dataset: Dataset, folders: list[Path]) -> dict[str, Any]:
    if not dataset.test_videos:
        return {"frame_auc": None, "frame_ap": None, "undefined": "the dataset has no test videos"}
    if config.setting != "local":
        with open_npz(folders[0] / "scores.npz", "scores") as scores:
            return evaluate_scores(dataset, scores)
    archives = {folder.name: open_npz(folder / "scores.npz", "scores") for folder in folders}
    return evaluate_participants(dataset, archives)
