"""Every method comes to the same model, bit for bit, when its process is stopped after every third reply."""

from __future__ import annotations

import json

import numpy as np
import pytest
from interrupted import run_with_stops
from synthetic import make_dataset, make_plan

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.workflows.federate import Federation

CASES = {
    "clap": ("clap", {"refine_from": 2}, "fedavg", {}),
    "clap-local-refinement": ("clap", {"refine_from": 2, "refine_model": "local"}, "fedavg", {}),
    "c2fpl": ("c2fpl", {"crops": 1, "epoch_share": 0.5}, "fedavg", {}),
    "c2fpl-scaffold": ("c2fpl", {}, "scaffold", {}),
    "gcl": ("gcl", {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 2, "negative_from": 2}, "fedadam", {}),
}


@pytest.mark.usefixtures("small_generator")
@pytest.mark.parametrize(("method", "options", "strategy", "settings"), CASES.values(), ids=CASES.keys())
def test_stopped_again_and_again_it_ends_with_the_same_model(tmp_path, method, options, strategy, settings):
    dataset = Dataset(make_dataset(tmp_path / "data", videos=3, test=False))
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south")}
    plan = make_plan(strategy, settings, rounds=3, normalise="federated")
    made = make_method(method, options)
    undisturbed = Federation(tmp_path / "undisturbed", dataset, held, plan, made).run()
    state, stops = run_with_stops(Federation(tmp_path / "stopped", dataset, held, plan, made), replies=3)

    asked = int(undisturbed["sequence"])
    assert stops >= asked - 1  # never more than one question at a time
    assert state.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    logs = []
    for folder in ("undisturbed", "stopped"):
        lines = [json.loads(line) for line in (tmp_path / folder / "rounds.jsonl").read_text().splitlines()]
        logs.append([{key: value for key, value in line.items() if key != "seconds"} for line in lines])
    assert logs[0] == logs[1]
    assert [line["round"] for line in logs[0]] == [1, 2, 3]
