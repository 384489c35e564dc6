"""The end of a run of either engine: its model, scores, metrics and report."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.method import Method
from ..algorithms.model_info import model_info
from ..algorithms.plan import Plan
from ..datasets.dataset import Dataset
from ..detector.model import Model
from ..detector.personalised import PersonalisedModels
from ..errors import ClapError
from ..evaluation.baseline import baseline_table
from ..evaluation.best_round import best_round
from ..evaluation.evaluate import evaluate_participants, evaluate_scores
from ..evaluation.histograms import evaluate_histograms
from ..evaluation.scoring import score_test_videos
from ..federation.ask import State
from ..federation.checkpoint import read_rounds
from ..federation.left_out import left_out
from ..persistence import open_npz, read_json, save_npz, write_json
from ..specification.run import RunSpecification
from .privacy_terms import privacy_figures
from .provenance import provenance
from .report import report
from .suitability import feature_remarks

__all__ = ["finish", "finished", "test_round"]


def finished(run: Path) -> dict[str, Any] | None:
    """The metrics of a finished run, whose report is written if missing; None for an unfinished one."""
    if not (run / "metrics.json").exists():
        return None
    metrics = read_json(run / "metrics.json")
    if not isinstance(metrics, dict) or not metrics.keys() >= {"method", "setting", "model_sha256", "seconds"}:
        raise ClapError(f"{run / 'metrics.json'}: not the metrics of a run; delete it and repeat the command")
    if not (run / "report.html").exists():
        report(run)
    return dict(metrics)


def finish(
    run: Path,
    spec: RunSpecification,
    states: Mapping[Path, State],
    *,
    method: Method,
    plan: Plan,
    personalised: Mapping[Path, Mapping[str, Model]],
    features: Mapping[str, Any],
    dataset: Dataset | None,
    participants: int,
    baselines: Mapping[str, Any] | None,
    resumed: bool,
    started: float,
) -> dict[str, Any]:
    """Write model, scores, metrics and report.

    Args:
        run: the run's folder.
        spec: of the run.
        states: folder -> final state of the coordinator; one, or one per participant in setting local.
        method, plan: of the run.
        personalised: folder -> scene -> personalised model; empty over real sites, which keep theirs.
        features: as returned by :func:`~clap_vad.features.store.description.describe`.
        dataset: its test videos are scored; None if the sites have evaluated their own.
        participants: number of participants.
        baselines: of the dataset, if already known.
        resumed: True if the run was resumed.
        started: ``time.perf_counter()`` when this process began to work on the run.

    Returns:
        The contents of ``metrics.json``.
    """
    hashes, bytes_up, bytes_down = [], 0, 0
    for folder, state in states.items():
        info = {**model_info(features, state), "provenance": provenance(spec)}
        own = {scene: model.described({**info, **model.info}) for scene, model in personalised.get(folder, {}).items()}
        models = PersonalisedModels(method.model(plan, state, info), own)
        hashes.append(models.save(folder))
        if dataset is not None:
            save_npz(folder / "scores.npz", score_test_videos(dataset, models, spec.threads))
        bytes_up += int(state["bytes_up"])
        bytes_down += int(state["bytes_down"])
    if spec.setting == "local":
        model_sha256 = hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()
    else:
        model_sha256 = hashes[0]
    lines = [line for folder in states for line in read_rounds(folder / "rounds.jsonl")]
    evaluated = _evaluate(spec, dataset, states)
    seconds = round(time.perf_counter() - started, 2)  # without the baselines, which may come from another run
    if spec.test_each_round:
        evaluated |= best_round([read_rounds(folder / "rounds.jsonl") for folder in states])
    if baselines is None:
        baselines = baseline_table(dataset) if dataset is not None else {}
    metrics = {
        **evaluated,
        "method": spec.method,
        "setting": spec.setting,
        "supervision": spec.supervision,
        "strategy": spec.strategy,
        "protocol": spec.protocol,
        "engine": spec.engine,
        "participants": participants,
        "rounds": spec.rounds,
        "seed": spec.seed,
        "model_sha256": model_sha256,
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        "bytes_up_per_round": sum(line.get("bytes_up", 0) for line in lines) / spec.rounds,
        "bytes_down_per_round": sum(line.get("bytes_down", 0) for line in lines) / spec.rounds,
        "update_encoding": spec.update_encoding,
        "secure_aggregation": spec.secure_aggregation,
        "clipped": sum(int(state.get("clipped", np.array(0))) for state in states.values()),
        "left_out": {name: why for state in states.values() for name, why in left_out(state).items()},
        **privacy_figures(spec.privacy, spec.setting),
        "baselines": baselines,
        "remarks": feature_remarks(method, spec.method, features, _absent_crops(dataset)),
        "resumed": resumed,
        "seconds": seconds,
    }
    write_json(run / "metrics.json", metrics)
    report(run)
    return metrics


def _absent_crops(dataset: Dataset | None) -> bool:
    return dataset is not None and any(store.valid is not None for store in dataset.stores)


def test_round(spec: RunSpecification, method: Method, plan: Plan, dataset: Dataset, state: State) -> dict[str, Any]:
    """Test metrics for the round's line in ``rounds.jsonl``; empty unless ``test_each_round`` is set."""
    if not spec.test_each_round or not dataset.test_videos:
        return {}
    models = PersonalisedModels(method.model(plan, state, {}))
    found = evaluate_scores(dataset, score_test_videos(dataset, models, spec.threads))
    return {metric: found[metric] for metric in ("frame_auc", "frame_ap")}


def _evaluate(spec: RunSpecification, dataset: Dataset | None, states: Mapping[Path, State]) -> dict[str, Any]:
    folders = list(states)
    if dataset is None and spec.privacy:
        why = "sites do not report scores of their own test videos under differential privacy"
        return {"frame_auc": None, "frame_ap": None, "undefined": why}
    if dataset is None:
        return evaluate_histograms(*(states[folders[0]][f"evaluation.{kind}"] for kind in ("normal", "abnormal")))
    if not dataset.test_videos:
        return {"frame_auc": None, "frame_ap": None, "undefined": "the dataset has no test videos"}
    if spec.setting != "local":
        with open_npz(folders[0] / "scores.npz", "scores") as scores:
            return evaluate_scores(dataset, scores)
    archives = {folder.name: open_npz(folder / "scores.npz", "scores") for folder in folders}
    return evaluate_participants(dataset, archives)
