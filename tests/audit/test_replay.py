"""A replay is the run itself: the same model, bit for bit, and the coordinator's view of it."""

from __future__ import annotations

import numpy as np
import pytest

from clap_vad.algorithms.rounds import global_weights
from clap_vad.audit.replay import replay
from clap_vad.detector.model import Model
from clap_vad.specification.reading import read_specification
from clap_vad.workflows import finish, train
from clap_vad.workflows.opening import open_run
from synthetic import SCENES, make_dataset


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("encoding", ["float32", "int8"])
def test_a_replay_ends_in_the_runs_own_model(tmp_path, monkeypatch, secure, encoding):
    monkeypatch.setattr(finish, "report", lambda run: None)
    dataset = make_dataset(tmp_path / "dataset", videos=3)
    choices = {"secure_aggregation": secure, "update_encoding": encoding}
    train.train(dataset, tmp_path / "run", method="c2fpl", rounds=2, baselines={}, **choices)
    opened = open_run(read_specification(tmp_path / "run"))
    observed = replay(opened, tmp_path / "again", rounds=5)
    assert observed.plan.spec.rounds == 2
    model = Model.load(tmp_path / "run").weights
    for name, weight in global_weights(observed.state).items():
        np.testing.assert_array_equal(weight, model[name])
    updates = observed.of("train")
    assert [len(seen.replies) for seen in updates] == [1 if secure else len(SCENES)] * 2
    assert all(seen.members == tuple(sorted(SCENES)) for seen in updates)
    on_the_wire = {name for seen in observed.wire for reply in seen.replies for name in reply.message}
    assert any(name.startswith("update.") for name in on_the_wire) == (not secure)


def test_one_participant_can_stay_away(tmp_path, monkeypatch):
    monkeypatch.setattr(finish, "report", lambda run: None)
    dataset = make_dataset(tmp_path / "dataset", videos=3)
    train.train(dataset, tmp_path / "run", method="c2fpl", rounds=1, fraction=0.5, baselines={})
    opened = open_run(read_specification(tmp_path / "run"))
    observed = replay(opened, tmp_path / "again", rounds=1, without=SCENES[1], everybody=True)
    (round_one,) = observed.of("train")
    assert round_one.members == tuple(sorted(set(SCENES) - {SCENES[1]}))
