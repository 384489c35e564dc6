"""Evaluating finished runs: recomputed, on another dataset, pooled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clap_vad.core.statistics.moments import Moments, Normaliser
from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.features.store.writer import StoreWriter
from clap_vad.persistence import write_json
from clap_vad.workflows.evaluate import evaluate

DIM = 4
SIZES = {"a": 5, "b": 3, "c": 4}


def features(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {video: random.normal(size=(size, 2, DIM)).astype(np.float32) for video, size in SIZES.items()}


def make_dataset(path: Path, seed: int = 0, *, extractor: str = "test", dim: int = DIM) -> Path:
    with StoreWriter(path / "store", extractor=extractor, settings={}, crops=2, dim=dim) as writer:
        for video, x in features(seed).items():
            writer.append(video, [x[..., :dim]], frames=16 * len(x), fps=25.0)
        writer.finish()
    write_videos_csv(path / "videos.csv", [VideoRecord("a", "train"), *(VideoRecord(v, "test", "gate") for v in "bc")])
    np.savez(path / "frame_labels.npz", **truth(seed))
    return path


def truth(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed + 100)
    return {video: (random.random(16 * SIZES[video]) < 0.4).astype(np.uint8) for video in "bc"}


def make_model(seed: int = 0) -> NetworkModel:
    normaliser = Normaliser.from_moments(Moments.of(features(9)["a"].reshape(-1, DIM)))
    return NetworkModel(
        initial_weights(DIM, seed), normaliser, {"extractor": {"name": "test", "settings": {}}, "dim": DIM}
    )


def make_run(path: Path, dataset: Path, scores: dict[str, np.ndarray], setting: str = "collaborative") -> Path:
    names = {"method": "clap", "setting": setting, "supervision": "us", "seed": 0}
    write_json(path / "config.json", {"dataset": str(dataset), **names})
    write_json(path / "metrics.json", {"frame_auc": 0.0})
    make_model().save(path)
    np.savez(path / "scores.npz", **scores)
    return path


def random_scores(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {video: random.random(SIZES[video]).astype(np.float32) for video in "bc"}


def auc(*parts: tuple[dict[str, np.ndarray], int]) -> float:
    labels = np.concatenate([truth(seed)[video] for _, seed in parts for video in "bc"])
    frames = np.concatenate([np.repeat(scores[video], 16) for scores, _ in parts for video in "bc"])
    return float(roc_auc_score(labels, frames))


def test_metrics_are_recomputed_from_the_scores(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "data")
    result = evaluate([make_run(tmp_path / "run", dataset, random_scores(1))])
    assert result["frame_auc"] == pytest.approx(auc((random_scores(1), 0)))
    assert (result["run"], result["dataset"], result["setting"]) == (
        str(tmp_path / "run"),
        str(dataset),
        "collaborative",
    )
    assert set(result["per_scene"]) == {"gate"}


def test_another_dataset_is_scored_with_the_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_dataset(tmp_path / "data"), random_scores(1))
    other = make_dataset(tmp_path / "other", seed=7)
    expected = {video: make_model().score(x) for video, x in features(7).items()}
    assert evaluate([run], other)["frame_auc"] == pytest.approx(auc((expected, 7)), abs=1e-6)


def test_folds_are_pooled(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path / f"run-{seed}", make_dataset(tmp_path / f"fold-{seed}", seed), random_scores(seed))
        for seed in (0, 1)
    ]
    result = evaluate(runs, pool=True)
    assert result["frame_auc"] == pytest.approx(auc((random_scores(0), 0), (random_scores(1), 1)))
    assert [row["frame_auc"] for row in result["runs"]] == [
        pytest.approx(auc((random_scores(seed), seed))) for seed in (0, 1)
    ]
    assert evaluate(runs)["runs"] == result["runs"]


def make_local_run(path: Path, dataset: Path, participants: str, seed: int = 0) -> Path:
    run = make_run(path, dataset, {}, "local")
    for i, participant in enumerate(participants):
        make_run(run / "participants" / participant, dataset, random_scores(seed + i))
    return run


def test_local_runs_are_averaged_and_pooled_participant_by_participant(tmp_path: Path) -> None:
    folds = [make_dataset(tmp_path / f"fold-{seed}", seed) for seed in (0, 1)]
    runs = [make_local_run(tmp_path / f"run-{seed}", folds[seed], "xy", seed) for seed in (0, 1)]
    single = [auc((random_scores(i), 0)) for i in (0, 1)]
    result = evaluate(runs[:1])
    assert result["frame_auc"] == pytest.approx(np.mean(single))
    assert result["frame_auc_std"] == pytest.approx(np.std(single, ddof=1))
    pooled = evaluate(runs, pool=True)
    expected = [auc((random_scores(i), 0), (random_scores(1 + i), 1)) for i in (0, 1)]
    assert pooled["frame_auc"] == pytest.approx(np.mean(expected))
    assert list(pooled["per_participant"]) == ["x", "y"]
    other = make_local_run(tmp_path / "run-z", folds[1], "xz", 1)
    with pytest.raises(ClapError, match="are not those of"):
        evaluate([runs[0], other], pool=True)


def test_bad_usage_is_refused(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "data")
    run = make_run(tmp_path / "run", dataset, random_scores(1))
    twin = make_run(tmp_path / "twin", dataset, random_scores(1))
    local = make_local_run(tmp_path / "local", make_dataset(tmp_path / "fold"), "x")
    for arguments, message in (
        (([],), "no run"),
        (([run], None, True), "cannot be pooled"),
        (([run, twin], dataset, True), "leave --dataset out"),
        (([run, twin], None, True), "the same dataset"),
        (([run, local], None, True), "setting local cannot be pooled with collaborative"),
        (([tmp_path / "nothing"],), "not a run"),
        (([run], tmp_path / "nothing"), "not a dataset"),
    ):
        runs, other, pool = (*arguments, None, False)[:3] if len(arguments) == 1 else (*arguments, False)[:3]
        with pytest.raises(ClapError, match=message):
            evaluate(runs, other, pool=bool(pool))


def test_broken_runs_are_refused(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "data")
    run = make_run(tmp_path / "run", dataset, random_scores(1))
    (run / "scores.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ClapError, match=r"scores\.npz: not a readable"):
        evaluate([run])
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").replace(run / "scores.npz")
    with pytest.raises(ClapError, match=r"scores\.npz: not a readable"):
        evaluate([run])
    (run / "scores.npz").unlink()
    with pytest.raises(ClapError, match=r"scores\.npz: missing"):
        evaluate([run])
    (run / "metrics.json").unlink()
    with pytest.raises(ClapError, match="--resume"):
        evaluate([run])
    gone = make_run(tmp_path / "gone", tmp_path / "moved", random_scores(1))
    with pytest.raises(ClapError, match="give its folder by --dataset"):
        evaluate([gone])


def test_features_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_dataset(tmp_path / "data"), random_scores(1))
    with pytest.raises(ClapError, match="3 dimensions"):
        evaluate([run], make_dataset(tmp_path / "narrow", dim=3))
    with pytest.raises(ClapError, match="features of 'motion'"):
        evaluate([run], make_dataset(tmp_path / "motion", extractor="motion"))


def test_the_command_prints_json_and_fails_in_one_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run [1]", make_dataset(tmp_path / "data"), random_scores(1))
    command = [sys.executable, "-m", "clap_vad.cli", "evaluate", run.name]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["frame_auc"] == pytest.approx(auc((random_scores(1), 0)))
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "run [1]" in plain.stdout
    failed = subprocess.run([*command, "--pool"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert len(failed.stderr.splitlines()) == 1
