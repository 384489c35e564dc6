"""Every method comes to the same model, bit for bit, wherever its process is stopped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from interrupted import StoppedError, run_with_stops

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.ask import State
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.workflows.federate import Federation
from synthetic import comet_terms, make_dataset, make_plan

CASES = {
    "clap": ("clap", {"refine_from": 2}, "fedavg", {}),
    "clap-local-refinement": ("clap", {"refine_from": 2, "refine_model": "local"}, "fedavg", {}),
    "clap-federated-segregation": ("clap", {"refine_from": 2, "segregation": "federated"}, "fedavg", {}),
    "c2fpl": ("c2fpl", {"crops": 1, "epoch_share": 0.5}, "fedavg", {}),
    "c2fpl-scaffold": ("c2fpl", {}, "scaffold", {}),
    "gcl": ("gcl", {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 2, "negative_from": 2}, "fedadam", {}),
    "comet": ("comet", {}, "fedavg", {}),
    "comet-secure": ("comet", {}, "fedavg", {}),
    "comet-video": ("comet", {}, "fedavg", {}),
    "gcl-int8": ("gcl", {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 2, "negative_from": 2}, "fedavg", {}),
    "c2fpl-scaffold-int8": ("c2fpl", {}, "scaffold", {}),
}


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 3]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_run(state: State, expected: State, folder: Path, undisturbed: Path) -> None:
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)
    assert log_of(folder) == log_of(undisturbed)


def assert_same_homes(one: Federation, other: Federation) -> None:
    """What sites adapted at home is the same too."""
    found, expected = (f.personalised(Checkpoint(f.folder / "checkpoints").load()) for f in (one, other))
    assert found.keys() == expected.keys()
    assert bool(expected) == one.method.personalises
    for scene, model in expected.items():
        for name, value in model.arrays().items():
            np.testing.assert_array_equal(found[scene].arrays()[name], value, err_msg=f"{scene} {name}")


@pytest.mark.usefixtures("small_generator")
@pytest.mark.parametrize(("method", "options", "strategy", "settings"), CASES.values(), ids=CASES.keys())
def test_stopped_again_and_again_it_ends_with_the_same_model(tmp_path, request, method, options, strategy, settings):
    dataset = Dataset(make_dataset(tmp_path / "data", videos=3, test=False))
    case = request.node.callspec.id
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south")}
    if "secure" in case:
        held["east"] = [v for v in dataset.train_videos if v.startswith("east")]
    modes = {"update_encoding": "int8" if "int8" in case else "float32", "secure": "secure" in case}
    privacy = comet_terms(3, epsilon=8.0, unit="video" if "video" in case else "crop") if method == "comet" else None
    participants = tuple(held)
    plan = make_plan(
        strategy, settings, rounds=3, normalise="federated", participants=participants, privacy=privacy, **modes
    )
    made = make_method(method, options)
    undisturbed = Federation(tmp_path / "undisturbed", dataset, held, plan, made).run()
    phases = 4 if plan.spec.secure_aggregation else 1  # under masks all answer four times
    state, stops = run_with_stops(
        Federation(tmp_path / "stopped", dataset, held, plan, made), replies=len(held) * phases + 1
    )
    assert stops >= int(undisturbed["sequence"]) - 1  # never more than one question at a time
    assert_same_run(state, undisturbed, tmp_path / "stopped", tmp_path / "undisturbed")
    assert_same_homes(*(Federation(tmp_path / name, dataset, held, plan, made) for name in ("stopped", "undisturbed")))


@pytest.mark.parametrize(
    ("method", "strategy", "encoding"),
    [
        ("clap", "fedavg", "float32"),
        ("clap", "scaffold", "float32"),
        ("clap", "scaffold", "int8"),
        ("comet", "fedavg", "float32"),
    ],
)
def test_stopped_before_every_checkpoint_it_ends_with_the_same_model(tmp_path, monkeypatch, method, strategy, encoding):
    """When all have answered and the round is logged, but the coordinator's state is not on disk yet."""
    dataset = Dataset(make_dataset(tmp_path / "data", videos=3, test=False))
    held = {site: [v for v in dataset.train_videos if v.startswith(site)] for site in ("north", "south")}
    privacy = comet_terms(3, epsilon=8.0) if method == "comet" else None
    plan = make_plan(strategy, rounds=3, update_encoding=encoding, participants=tuple(held), privacy=privacy)
    made = make_method(method, {"refine_from": 2, "min_steps": 0} if method == "clap" else {})
    undisturbed = Federation(tmp_path / "undisturbed", dataset, held, plan, made).run()
    saves, save = [], Checkpoint.save

    def stopping(self: Checkpoint, state: State) -> None:
        saves.append(state)
        if len(saves) == 3:  # after the one that was there already and one more
            raise StoppedError
        save(self, state)

    monkeypatch.setattr(Checkpoint, "save", stopping)
    federation, state, stops = Federation(tmp_path / "stopped", dataset, held, plan, made), None, 0
    while state is None:
        saves.clear()
        try:
            state = federation.run()
        except StoppedError:
            stops += 1
    assert stops == int(undisturbed["sequence"]) - 1
    assert_same_run(state, undisturbed, tmp_path / "stopped", tmp_path / "undisturbed")
