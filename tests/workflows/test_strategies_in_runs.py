"""Every registered strategy from data to model: it runs, goes on after being stopped, and matters only where asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from interrupted import run_with_stops

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.strategy import STRATEGIES
from clap_vad.workflows.federate import Federation
from synthetic import make_dataset, make_plan

QUICK = {"min_steps": 0, "local_epochs": 1, "refine_from": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=2, test=False))


def federation(dataset: Dataset, folder: Path, strategy: str, fraction: float) -> Federation:
    """Eight participants of one video each, who know its label."""
    held = {f"site-{video}": (video,) for video in dataset.train_videos}
    plan = make_plan(strategy, {}, rounds=2, fraction=fraction)
    return Federation(folder, dataset, held, plan, make_method("clap", QUICK), dataset.train_videos)


def weights_of(state) -> dict[str, np.ndarray]:
    return {name: value for name, value in state.items() if name.startswith("weights.")}


@pytest.mark.parametrize("strategy", STRATEGIES.names())
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_it_runs_and_goes_on_where_it_was_stopped(dataset, tmp_path, strategy, fraction):
    undisturbed = federation(dataset, tmp_path / "undisturbed", strategy, fraction).run()
    state, stops = run_with_stops(federation(dataset, tmp_path / "stopped", strategy, fraction), replies=11)
    assert stops >= 2
    assert state.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert np.isfinite(value).all()
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    rounds = [json.loads(line) for line in (tmp_path / "stopped" / "rounds.jsonl").read_text().splitlines()]
    assert [(line["round"], line["participants"]) for line in rounds] == [(n, 8 * fraction) for n in (1, 2)]


def test_strategies_lead_to_different_models(dataset, tmp_path):
    names = STRATEGIES.names()
    ends = [weights_of(federation(dataset, tmp_path / name, name, 0.5).run()) for name in names]
    for i, one in enumerate(ends):
        for j, other in enumerate(ends[:i]):
            assert not np.array_equal(one["weights.layer1.weight"], other["weights.layer1.weight"]), (
                names[i],
                names[j],
            )


@pytest.mark.parametrize("setting", ["centralized", "local"])
def test_outside_the_collaborative_setting_it_is_ignored(dataset, tmp_path, quick_train, setting):
    options = {"setting": setting, "rounds": 2, "method": "c2fpl", "min_steps": 0, "local_epochs": 1}
    plain = quick_train(dataset.path, tmp_path / "plain", **options)
    for strategy, own in (("scaffold", {}), ("fedprox", {"mu": 5.0}), ("fedadam", {}), ("multi-krum", {})):
        run = tmp_path / strategy
        metrics = quick_train(dataset.path, run, strategy=strategy, fraction=0.5, **own, **options)
        assert metrics["model_sha256"] == plain["model_sha256"]
        assert metrics["strategy"] == json.loads((run / "config.json").read_text())["strategy"] == "fedavg"
